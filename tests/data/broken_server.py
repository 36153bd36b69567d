"""A server with the mistakes of a first attempt, for the tests of `grade`: one client after another, a
length in characters instead of bytes, any path that the client names, and an error of one client is the
end of all."""

import os
import socket
import time

listener = socket.create_server(("127.0.0.1", 0))
print(f"listening on http://127.0.0.1:{listener.getsockname()[1]}/", flush=True)
while True:
    connection, _ = listener.accept()
    head = b""
    while b"\r\n\r\n" not in head:
        received = connection.recv(1024)
        if not received:
            break
        head += received
    if not head:
        connection.close()
        continue
    # Garbage is no text, or has too few words: both end the server.
    try:
        method, target, version = head.decode().split("\r\n")[0].split()
    except ValueError:
        # The sockets of a process that ends close before it is gone.
        connection.close()
        listener.close()
        time.sleep(0.1)
        raise
    path = target.lstrip("/") if not target.startswith("//") else target[1:]
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
        time.sleep(0.01)
        answer = f"HTTP/1.0 200 OK\r\nContent-Length: {len(text)}\r\n\r\n{text}"
    except OSError:
        answer = "HTTP/1.0 404 Not Found\r\nContent-Length: 0\r\n\r\n"
    try:
        connection.sendall(answer.encode())
    except OSError:
        pass
    connection.close()
