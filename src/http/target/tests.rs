//! Tests of parsing targets.

use super::*;
use proptest::prelude::*;

fn decoded(raw: &str) -> Result<(String, bool), Fault> {
    DecodedPath::decode(raw.as_bytes())
        .map(|path| (String::from_utf8_lossy(&path.joined).into_owned(), path.directory))
}

#[test]
fn a_path_is_compared_as_it_is_decoded() {
    let rows = [
        ("/healthz", "/healthz", true),
        ("/%68ealth%7a", "/healthz", true),
        ("/./a/../healthz", "/healthz", true),
        ("/healthz/", "/healthz", false),
        ("/healthz", "/healthz/", false),
        ("/healthz/", "/healthz/", true),
        ("/healthz/a", "/healthz", false),
        ("/health", "/healthz", false),
        ("/Healthz", "/healthz", false),
        ("/a%20b/c", "/a b/c", true),
        ("/a%20b/c", "/a%20b/c", false),
        ("/", "/", true),
        ("/", "", false),
        ("/a", "/", false),
        ("/healthz", "healthz", false),
    ];
    for (raw, wanted, expected) in rows {
        let path = DecodedPath::decode(raw.as_bytes()).expect("a good path");
        assert_eq!(path.is(wanted), expected, "{raw} and {wanted}");
    }
}

#[test]
fn paths_are_decoded_and_dot_segments_removed() {
    let rows = [
        ("/", "", true),
        ("", "", true),
        ("/a", "a", false),
        ("/a/", "a", true),
        ("/a/b.txt", "a/b.txt", false),
        ("//a///b", "a/b", false),
        ("/./a/.", "a", true),
        ("/a/../b", "b", false),
        ("/a/b/..", "a", true),
        ("/../../etc/passwd", "etc/passwd", false),
        ("/%2e%2e/%2E%2e/etc/passwd", "etc/passwd", false),
        ("/a%20b%41", "a bA", false),
        ("/a;b+c", "a;b+c", false),
        ("/..a/.b./...", "..a/.b./...", false),
        ("/a\\..\\b", "a\\..\\b", false),
        ("testfile", "testfile", false),
        ("../testfile", "testfile", false),
    ];
    for (raw, path, directory) in rows {
        assert_eq!(decoded(raw), Ok((path.to_owned(), directory)), "{raw}");
    }
    for raw in ["/%", "/%2", "/%zz", "/%2f", "/a%2Fb", "/%00", "/..%2f..%2fetc"] {
        assert_eq!(decoded(raw), Err(Fault::Target), "{raw}");
    }
    let overlong = DecodedPath::decode(b"/%c0%ae%c0%ae/x").map(|path| path.joined);
    assert_eq!(overlong, Ok(b"\xc0\xae\xc0\xae/x".to_vec()), "not UTF-8, and not decoded twice");
}

#[test]
fn a_mounted_handler_gets_the_path_below_its_prefix() {
    let rows = [
        ("/a/b/c", 0, "", "a/b/c"),
        ("/a/b/c", 1, "a", "b/c"),
        ("/a/b/c/", 2, "a/b", "c"),
        ("/a/b", 2, "a/b", ""),
        ("/a/b/", 2, "a/b", ""),
        ("/a", 5, "a", ""),
        ("/", 1, "", ""),
    ];
    for (raw, segments, prefix, path) in rows {
        let whole = DecodedPath::decode(raw.as_bytes()).expect("a path");
        let below = whole.beneath(segments);
        assert_eq!((below.prefix(), below.as_bytes()), (prefix.as_bytes(), path.as_bytes()));
        assert_eq!(below.segments().collect::<Vec<_>>().join(&b'/'), path.as_bytes());
        assert_eq!(below.is_directory(), whole.is_directory());
        let [child, of_whole] = [&below, &whole].map(|path| path.child("x"));
        assert_eq!(child.segments().last(), Some(&b"x"[..]), "{raw}");
        assert_eq!(child.segments().count(), below.segments().count() + 1, "{raw}");
        assert_eq!(child.prefix(), prefix.as_bytes());
        assert_eq!(of_whole.segments().count(), whole.segments().count() + 1, "{raw}");
    }
    let twice = DecodedPath::decode(b"/a/b/c").expect("a path").beneath(1).beneath(1);
    assert_eq!((twice.prefix(), twice.as_bytes()), (&b"a/b"[..], &b"c"[..]));
}

#[test]
fn method_and_version_determine_the_permitted_forms() {
    let parse = |raw: &str, method: &str, version| {
        Target::parse(raw.as_bytes(), method.as_bytes(), version)
            .map(|t| (t.form, String::from_utf8_lossy(&t.path.joined).into_owned()))
    };
    use Version::{Http10, Http11};
    let rows = [
        ("/a?b=/../c", "GET", Http11, Ok((Form::Origin, "a"))),
        ("http://h:80/a?b", "GET", Http11, Ok((Form::Absolute, "a"))),
        ("HTTP://h", "GET", Http11, Ok((Form::Absolute, ""))),
        ("http://h?q", "GET", Http11, Ok((Form::Absolute, ""))),
        ("http:///a", "GET", Http11, Err(Fault::Target)),
        ("http://:80/a", "GET", Http11, Err(Fault::Target)),
        ("http://[::1]:80/a", "GET", Http11, Ok((Form::Absolute, "a"))),
        ("http://[zz]/", "GET", Http11, Err(Fault::Target)),
        ("http://a^b/", "GET", Http11, Err(Fault::Target)),
        ("http://u@h/a", "GET", Http11, Err(Fault::Target)),
        ("testfile", "GET", Http10, Ok((Form::Relative, "testfile"))),
        ("testfile", "GET", Http11, Err(Fault::Target)),
        ("*", "OPTIONS", Http11, Ok((Form::Asterisk, ""))),
        ("*", "GET", Http11, Err(Fault::Target)),
        ("h:443", "CONNECT", Http11, Ok((Form::Authority, ""))),
        ("[::1]:443", "CONNECT", Http11, Ok((Form::Authority, ""))),
        ("h", "CONNECT", Http11, Err(Fault::Target)),
        ("h:", "CONNECT", Http11, Err(Fault::Target)),
        ("h:0", "CONNECT", Http11, Err(Fault::Target)),
        ("h:65536", "CONNECT", Http11, Err(Fault::Target)),
        (":443", "CONNECT", Http11, Err(Fault::Target)),
        ("/a", "CONNECT", Http11, Err(Fault::Target)),
        ("[zz]:443", "CONNECT", Http11, Err(Fault::Target)),
        ("/a#b", "GET", Http11, Err(Fault::Target)),
    ];
    for (raw, method, version, expected) in rows {
        let expected = expected.map(|(form, path)| (form, path.to_owned()));
        assert_eq!(parse(raw, method, version), expected, "{method} {raw}");
    }
}

#[test]
fn authorities_are_valid_or_refused() {
    let names = ["", "a", "a.b", "127.0.0.1", "a_b-c", "~!$&'()*+,;=", "%41%e2%98%83", "%00"];
    let addresses = ["[::1]", "[2001:db8::A:1]", "[::ffff:1.2.3.4]", "[1:2:3:4:5:6:7::]"];
    let later = ["[v1.a:b]", "[Vf.~,]"];
    for host in [&names[..], &addresses, &later].concat() {
        for port in ["", ":", ":80", ":65535"] {
            let good = format!("{host}{port}");
            assert!(is_authority(good.as_bytes()), "{good}");
        }
    }
    let bad = ["a b", "a/b", "a@b", "a:b", "a:80:80", "a\"b", "a,b c", "a:123456", "a:-1", "a\\"];
    let bytes = ["a#b", "a^b", "a|b", "a`b", "a<b>", "a{b}", "a?b", "\u{e9}", "a]", "a[b]"];
    let escapes = ["%", "a%", "a%4", "a%zz", "%4g", "%%41"];
    let brackets = ["[::1", "[]", "[::1]a", "[::1]]", "[zz]", "[ab..cd::1]", "[127.0.0.1]", "[a]"];
    let addresses = ["[1::2::3]", "[12345::]", "[1:2:3:4:5:6:7]", "[1:2:3:4:5:6:7:8:9]", "[::1 ]"];
    let zones = ["[fe80::1%25eth0]", "[fe80::1%eth0]", "[::1%]"];
    let later = ["[v]", "[v1]", "[v1.]", "[v.a]", "[vg.a]", "[v1.a/b]", "[v1.%41]"];
    let all = [&bad[..], &bytes, &escapes, &brackets, &addresses, &zones, &later].concat();
    for bad in all {
        assert!(!is_authority(bad.as_bytes()), "{bad}");
    }
}

proptest! {
    #[test]
    fn no_decoded_path_leaves_the_root(
        pieces in prop::collection::vec(prop_oneof![
            Just("..".to_owned()), Just("%2e%2e".to_owned()), Just(".%2E".to_owned()),
            Just("/".to_owned()), Just("//".to_owned()), Just("%2f".to_owned()),
            Just("\\".to_owned()), Just("%5c".to_owned()), Just("%00".to_owned()),
            Just("%c0%af".to_owned()), Just("%25%32%65".to_owned()), ".{0,4}"
        ], 0..24)
    ) {
        let raw = pieces.concat();
        if let Ok(path) = DecodedPath::decode(raw.as_bytes()) {
            for segment in path.segments() {
                prop_assert!(!matches!(segment, b"" | b"." | b".."));
                prop_assert!(!segment.contains(&b'/') && !segment.contains(&0));
            }
            prop_assert!(!path.as_bytes().starts_with(b"/"));
            prop_assert!(!path.as_bytes().ends_with(b"/"));
            prop_assert_eq!(path.segments().collect::<Vec<_>>().join(&b'/'), path.as_bytes());
        }
    }
}
