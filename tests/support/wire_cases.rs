//! Requests as bytes, with their expected results: one table for the parser and for the socket.

/// One request.
pub struct WireCase {
    pub request: &'static [u8],
    pub status: u16,
    /// Whether the connection is kept open after the response.
    pub keeps: bool,
}

const fn keeps(status: u16, request: &'static [u8]) -> WireCase {
    WireCase { request, status, keeps: true }
}

const fn closes(status: u16, request: &'static [u8]) -> WireCase {
    WireCase { request, status, keeps: false }
}

/// The requests. Only `testfile` exists.
pub const WIRE_CASES: &[WireCase] = &[
    // Valid requests.
    closes(200, b"GET testfile HTTP/1.0\r\n\r\n"),
    closes(200, b"GET /testfile HTTP/1.0\r\n\r\n"),
    closes(200, b"GET /testfile HTTP/1.0\n\n"),
    keeps(200, b"GET testfile HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"),
    keeps(200, b"GET /testfile HTTP/1.1\r\nHost: a\r\n\r\n"),
    keeps(200, b"\r\n\r\nGET /testfile HTTP/1.1\r\nHost: a\r\n\r\n"),
    keeps(200, b"GET /testfile HTTP/1.1\r\nhOsT:a:80\r\n\r\n"),
    keeps(200, b"GET /testfile HTTP/1.1\r\nHost:\r\n\r\n"),
    closes(200, b"GET /testfile HTTP/1.1\r\nHost: a\r\nConnection: foo, Close\r\n\r\n"),
    keeps(200, b"GET /testfile?a=b/../c HTTP/1.1\r\nHost: a\r\n\r\n"),
    keeps(200, b"GET /%74estf%69le HTTP/1.1\r\nHost: a\r\n\r\n"),
    keeps(200, b"GET /./a/../testfile HTTP/1.1\r\nHost: a\r\n\r\n"),
    keeps(200, b"GET //testfile HTTP/1.1\r\nHost: a\r\n\r\n"),
    keeps(200, b"GET http://example.org/testfile HTTP/1.1\r\nHost: b\r\n\r\n"),
    keeps(200, b"GET HTTP://example.org:80/testfile?q HTTP/1.1\r\nHost: b\r\n\r\n"),
    keeps(200, b"GET http://[::1]:80/testfile HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n\r\n"),
    keeps(200, b"GET /testfile HTTP/1.1\r\nHost: %41~!$&'()*+,;=:80\r\n\r\n"),
    keeps(200, b"GET /testfile HTTP/1.1\r\nHost: [v1.a:b]\r\n\r\n"),
    keeps(200, b"GET /testfile HTTP/1.9\r\nHost: a\r\n\r\n"),
    keeps(404, b"GET /nosuch HTTP/1.1\r\nHost: a\r\n\r\n"),
    keeps(404, b"GET /testfile/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    keeps(404, b"GET /testfile/x HTTP/1.1\r\nHost: a\r\n\r\n"),
    keeps(405, b"DELETE /testfile HTTP/1.1\r\nHost: a\r\n\r\n"),
    // Requests with bodies, which are discarded.
    keeps(200, b"GET /testfile HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"),
    keeps(405, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nGET /"),
    keeps(
        405,
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
          5;x=y\r\nhello\r\n0\r\nTrailer: v\r\n\r\n",
    ),
    keeps(200, b"GET /testfile HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"),
    // Lists with empty elements.
    keeps(200, b"GET /testfile HTTP/1.1\r\nHost: a\r\nConnection: , ,\r\n\r\n"),
    closes(200, b"GET /testfile HTTP/1.1\r\nHost: a\r\nConnection: , close,\r\n\r\n"),
    keeps(200, b"GET testfile HTTP/1.0\r\nConnection: ,keep-alive\r\n\r\n"),
    keeps(405, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: , chunked\r\n\r\n0\r\n\r\n"),
    keeps(405, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked,\r\n\r\n0\r\n\r\n"),
    keeps(200, b"GET /testfile HTTP/1.1\r\nHost: a\r\nExpect: , 100-continue,\r\n\r\n"),
    keeps(200, b"GET /testfile HTTP/1.1\r\nHost: a\r\nExpect: ,\r\n\r\n"),
    closes(405, b"PUT /a HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n"),
    closes(417, b"PUT /a HTTP/1.1\r\nHost: a\r\nExpect: the-impossible\r\n\r\n"),
    closes(417, b"PUT /a HTTP/1.1\r\nHost: a\r\nExpect: , 100-continue, magic\r\n\r\n"),
    closes(413, b"PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n"),
    closes(413, b"PUT /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffff\r\n"),
    // The request line.
    closes(400, b"GET testfile HTTP/1.1\r\nHost: a\r\n\r\n"),
    closes(400, b"GET  /testfile HTTP/1.1\r\nHost: a\r\n\r\n"),
    closes(400, b"GET /test file HTTP/1.1\r\nHost: a\r\n\r\n"),
    closes(400, b"GET /testfile\r\n\r\n"),
    closes(400, b"GET /testfile http/1.1\r\nHost: a\r\n\r\n"),
    closes(400, b"GET /testfile HTTP/1.1 \r\nHost: a\r\n\r\n"),
    closes(400, b"GET /testfile HTTP/11\r\nHost: a\r\n\r\n"),
    closes(400, b" GET /testfile HTTP/1.1\r\nHost: a\r\n\r\n"),
    closes(400, b"G(T /testfile HTTP/1.1\r\nHost: a\r\n\r\n"),
    closes(501, b"get /testfile HTTP/1.1\r\nHost: a\r\n\r\n"),
    closes(501, b"BREW /testfile HTTP/1.1\r\nHost: a\r\n\r\n"),
    closes(501, b"AVERYLONGMETHODTHATNOBODYHASEVERHEARDOF / HTTP/1.1\r\nHost: a\r\n\r\n"),
    closes(400, b"GET HTTP/1.1\r\nHost: a\r\n\r\n"),
    closes(505, b"GET /testfile HTTP/2.0\r\nHost: a\r\n\r\n"),
    closes(505, b"GET /testfile HTTP/0.9\r\nHost: a\r\n\r\n"),
    // Targets.
    closes(400, b"GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n"),
    closes(400, b"GET /% HTTP/1.1\r\nHost: a\r\n\r\n"),
    closes(400, b"GET /test%00file HTTP/1.1\r\nHost: a\r\n\r\n"),
    closes(400, b"GET /a%2fb HTTP/1.1\r\nHost: a\r\n\r\n"),
    closes(400, b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n"),
    closes(400, b"GET * HTTP/1.1\r\nHost: a\r\n\r\n"),
    closes(400, b"GET http:///testfile HTTP/1.1\r\nHost: a\r\n\r\n"),
    closes(400, b"GET http://[zz]/testfile HTTP/1.1\r\nHost: a\r\n\r\n"),
    closes(400, b"GET http://a^b/testfile HTTP/1.1\r\nHost: a\r\n\r\n"),
    closes(400, b"GET http://:80/testfile HTTP/1.1\r\nHost: a\r\n\r\n"),
    keeps(405, b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n"),
    closes(400, b"CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n"),
    closes(400, b"CONNECT a:0 HTTP/1.1\r\nHost: a\r\n\r\n"),
    closes(400, b"CONNECT [zz]:443 HTTP/1.1\r\nHost: a\r\n\r\n"),
    closes(400, b"CONNECT /testfile HTTP/1.1\r\nHost: a\r\n\r\n"),
    // Hosts.
    closes(400, b"GET /testfile HTTP/1.1\r\nHost: a#b\r\n\r\n"),
    closes(400, b"GET /testfile HTTP/1.1\r\nHost: a^b\r\n\r\n"),
    closes(400, b"GET /testfile HTTP/1.1\r\nHost: a|b\r\n\r\n"),
    closes(400, b"GET /testfile HTTP/1.1\r\nHost: a%zz\r\n\r\n"),
    closes(400, b"GET /testfile HTTP/1.1\r\nHost: [zz]\r\n\r\n"),
    closes(400, b"GET /testfile HTTP/1.1\r\nHost: [ab..cd::1]\r\n\r\n"),
    closes(400, b"GET /testfile HTTP/1.1\r\nHost: [fe80::1%25eth0]\r\n\r\n"),
    // Fields.
    closes(400, b"GET /testfile HTTP/1.1\r\n\r\n"),
    closes(400, b"GET /testfile HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
    closes(400, b"GET /testfile HTTP/1.1\r\nHost: a b\r\n\r\n"),
    closes(400, b"GET /testfile HTTP/1.1\r\nHost: a/b\r\n\r\n"),
    closes(400, b"GET /testfile HTTP/1.1\r\nHost : a\r\n\r\n"),
    closes(400, b"GET /testfile HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n"),
    closes(400, b"GET /testfile HTTP/1.1\r\n Host: a\r\n\r\n"),
    closes(400, b"GET /testfile HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n"),
    closes(400, b"GET /testfile HTTP/1.1\r\nHost: a\r\nA: b\0c\r\n\r\n"),
    closes(400, b"GET /testfile HTTP/1.1\r\nHost: a\r\nA: b\rc\r\n\r\n"),
    closes(400, b"GET /testfile HTTP/1.1\rHost: a\r\n\r\n"),
    // Ambiguous framing.
    closes(
        400,
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n\
          0\r\n\r\n",
    ),
    closes(
        400,
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    ),
    closes(400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\nhello"),
    closes(400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\nhello"),
    closes(400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\nhello"),
    closes(400, b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    closes(501, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"),
    closes(501, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip,, chunked,\r\n\r\n"),
    closes(400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n"),
    closes(400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n"),
    closes(400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: ,\r\n\r\n"),
    closes(400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    closes(400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
    closes(400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n"),
    closes(400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc"),
    closes(400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n"),
    // Not HTTP.
    closes(400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    closes(400, b"SSH-2.0-OpenSSH_9.2p1\r\n"),
    closes(400, b"\0\0\0\0\0\0\0\0"),
    closes(400, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    closes(400, b"hello\r\n"),
];
