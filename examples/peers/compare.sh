#!/bin/bash
# Shares a folder with each installed file server and shows what each of them does: a line of cells
# for each feature. It needs curl and python3. SERVER names the binary of this project.
set -u
folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null; rm -rf "$folder"' EXIT
mkdir "$folder/site" "$folder/site/album"
cd "$folder/site" || exit 1
echo tr0ve >../secret
ln -s ../secret link
echo hello >testfile
echo hello >'<b>.txt'
touch IMG_1.jpg IMG_2.jpg IMG_10.jpg album/a
head -c 100000 /dev/zero >page.css && gzip -k page.css
head -c 50000000 /dev/zero >large
# Settled files: this server gives no validators to one that has just changed.
find . -type f -exec touch -d '1 hour ago' {} +

names=(cws miniserve dufs static-web-server simple-http-server python)
binary() {
    case $1 in
        cws) echo "${SERVER:-server}" ;;
        python) echo python3 ;;
        *) echo "$1" ;;
    esac
}
# With the options that switch on what is asked for.
command() {
    case $1 in
        cws) echo "$(binary cws) $2 --admin $(($2 + 100)) --health /healthz --archive" ;;
        miniserve) echo "miniserve -p $2 -i 127.0.0.1 -r -z ." ;;
        dufs) echo "dufs -p $2 -b 127.0.0.1 --allow-upload --allow-archive ." ;;
        static-web-server)
            echo "static-web-server -p $2 -a 127.0.0.1 -d . -z --compression-static --health" ;;
        simple-http-server) echo "simple-http-server -p $2 --ip 127.0.0.1 -i ." ;;
        python) echo "python3 -m http.server $2 --bind 127.0.0.1" ;;
    esac
}

# Each feature: its name, and a command that succeeds if the server at $url (port $port, process
# $pid) has it.
ask='curl -s -m 5'
features=(
    "a range of a file|test \$($ask -o /dev/null -w '%{http_code}' -r 0-1 \$url/testfile) = 206"
    "several ranges at once|$ask -r 0-0,2-2 -D - \$url/testfile | grep -qi multipart/byteranges"
    "304 for an unchanged file, by ETag|e=\$($ask -I \$url/testfile | tr -d '\r' | sed -n 's/^etag: //Ip'); test -n \"\$e\" && test \$($ask -o /dev/null -w '%{http_code}' -H \"If-None-Match: \$e\" \$url/testfile) = 304"
    "sends page.css.gz in place of page.css|$ask -o /dev/null -D - -H 'Accept-Encoding: gzip' \$url/page.css | grep -qi 'content-encoding: gzip'"
    "refuses a link that leads outside|! $ask \$url/link | grep -q tr0ve"
    "refuses ..|! $ask --path-as-is \$url/../secret | grep -q tr0ve"
    "escapes names in its listing|$ask -H 'Accept: text/html' \$url/ | grep -q 'IMG_1' && ! $ask \$url/ | grep -q '<b>.txt'"
    "listing: IMG_2 before IMG_10|$ask \$url/ | tr -d '\n' | grep -q 'IMG_2.jpg.*IMG_10.jpg' && ! $ask \$url/ | tr -d '\n' | grep -q 'IMG_10.jpg.*IMG_2.jpg.*IMG_2.jpg'"
    "listing as JSON|$ask \$url/?format=json | python3 -m json.tool || $ask \$url/?json | python3 -m json.tool"
    "a folder as an archive|$ask \$url/album/?archive=tar | tar t || $ask \$url/album/?download=tar | tar t || $ask \$url/album/?zip | grep -q PK"
    "upload by PUT|test \$($ask -o /dev/null -w '%{http_code}' -T testfile \$url/new) = 201"
    "two requests in a row without waiting (pipelining)|printf 'GET /testfile HTTP/1.1\r\nHost: a\r\n\r\nGET /testfile HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n' | $ask telnet://127.0.0.1:\$port | grep -c hello | grep -q 2"
    "a health check|$ask -f \$url/healthz || $ask -f \$url/health || $ask -f \$url/__dufs__/health || $ask -f \$url/__miniserve_internal/healthcheck"
    "metrics|$ask -f 127.0.0.1:\$((port + 100))/metrics | grep -q _total || $ask -f \$url/metrics | grep -q _total"
    "answers beside 300 clients that send half a request|python3 -c \"import socket; s=[socket.create_connection(('127.0.0.1',\$port)) for _ in range(300)]; [c.send(b'GET /testfile HTTP/1.1\r\n') for c in s]; c=socket.create_connection(('127.0.0.1',\$port)); c.settimeout(3); c.send(b'GET /testfile HTTP/1.1\r\nHost: a\r\n\r\n'); assert b'200' in c.recv(999)\""
    "finishes a download after SIGTERM|python3 -c \"import socket,os,time; c=socket.create_connection(('127.0.0.1',\$port)); c.settimeout(5); c.send(b'GET /large HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'); n=len(c.recv(999)); os.kill(\$pid,15); time.sleep(.5); d=c.recv(1<<20)
while d: n+=len(d); d=c.recv(1<<20)
assert n>50000000\""
)

present=()
for name in "${names[@]}"; do
    type -P "$(binary "$name")" >/dev/null && present+=("$name")
done
port=${PORT:-18080}
declare -A cells
for name in "${present[@]}"; do
    port=$((port + 1)) url=http://127.0.0.1:$port
    $(command "$name" $port) >/dev/null 2>&1 &
    pid=$!
    for _ in $(seq 100); do $ask -o /dev/null "$url/" && break; sleep .1; done
    for feature in "${features[@]}"; do
        eval "${feature#*|}" >/dev/null 2>&1 && cells[$name,$feature]=yes || cells[$name,$feature]=no
    done
    kill -9 $pid 2>/dev/null
    rm -f new
done
echo "| feature |$(printf ' %s |' "${present[@]}")"
echo "|---|$(printf -- '---|%.0s' "${present[@]}")"
for feature in "${features[@]}"; do
    printf '| %s |' "${feature%%|*}"
    for name in "${present[@]}"; do printf ' %s |' "${cells[$name,$feature]}"; done
    echo
done
