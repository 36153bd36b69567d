//! The content codings that a client accepts (RFC 9110, section 12.5.3).

/// A content coding. The order is the server's preference among equals: the smallest result first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Coding {
    /// Brotli (RFC 7932).
    Brotli,
    /// Zstandard (RFC 8878).
    Zstandard,
    /// Gzip (RFC 1952).
    Gzip,
    /// No coding.
    Identity,
}

impl Coding {
    /// The codings for which a compressed file can lie beside the original.
    pub const PRECOMPRESSED: [Self; 3] = [Self::Brotli, Self::Zstandard, Self::Gzip];

    /// The name in `Content-Encoding`; empty for no coding.
    pub fn token(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Zstandard => "zstd",
            Self::Gzip => "gzip",
            Self::Identity => "",
        }
    }

    /// The suffix of the compressed file's name.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Brotli => ".br",
            Self::Zstandard => ".zst",
            Self::Gzip => ".gz",
            Self::Identity => "",
        }
    }
}

/// The codings that a client accepts, the preferred one first, without those of quality zero.
///
/// Without the field, RFC 9110 permits any coding, but such a client expects none.
pub fn accepted<'b>(fields: impl Iterator<Item = &'b [u8]>) -> impl Iterator<Item = Coding> {
    let mut qualities = [None; 4];
    let mut any = None;
    for (name, quality) in fields.flat_map(elements) {
        let is = |coding: &[u8]| name.eq_ignore_ascii_case(coding);
        match name.len() {
            1 if is(b"*") => any = Some(quality),
            2 if is(b"br") => qualities[0] = Some(quality),
            4 if is(b"zstd") => qualities[1] = Some(quality),
            4 if is(b"gzip") => qualities[2] = Some(quality),
            6 if is(b"x-gzip") => qualities[2] = Some(quality),
            8 if is(b"identity") => qualities[3] = Some(quality),
            _ => {}
        }
    }
    // `*` gives the quality of the codings that the field does not name. No coding is always
    // acceptable unless it is excluded, with the lowest preference.
    let coded = any.unwrap_or(0);
    let default = [coded, coded, coded, any.unwrap_or(1)];
    let [br, zstd, gzip, identity] = std::array::from_fn(|at| qualities[at].unwrap_or(default[at]));
    let mut found = [
        (br, Coding::Brotli),
        (zstd, Coding::Zstandard),
        (gzip, Coding::Gzip),
        (identity, Coding::Identity),
    ];
    found.sort_unstable_by_key(|&(quality, coding)| (std::cmp::Reverse(quality), coding));
    found.into_iter().filter(|&(quality, _)| quality > 0).map(|(_, coding)| coding)
}

/// The elements of a list, each with its quality in thousandths.
pub fn elements(list: &[u8]) -> impl Iterator<Item = (&[u8], u16)> {
    list.split(|&byte| byte == b',').map(|element| {
        // Most elements have no parameters.
        let name = element.iter().position(|&byte| byte == b';').unwrap_or(element.len());
        let (name, parameters) = element.split_at(name);
        let mut parameters = parameters.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
        (name.trim_ascii(), parameters.find_map(quality).unwrap_or(1000))
    })
}

/// The value of a `q` parameter in thousandths. A malformed value counts as zero.
fn quality(parameter: &[u8]) -> Option<u16> {
    let (name, value) = parameter.split_at_checked(2)?;
    if !name.eq_ignore_ascii_case(b"q=") {
        return None;
    }
    let number: Option<f32> = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
    Some(number.filter(|number| (0.0..=1.0).contains(number)).map_or(0, |q| (q * 1000.0) as u16))
}

#[cfg(test)]
mod tests {
    use super::*;
    use Coding::{Brotli, Gzip, Identity, Zstandard};

    #[test]
    fn codings_are_sorted_by_quality_and_then_by_preference() {
        let rows: &[(&[&str], &[Coding])] = &[
            (&[], &[Identity]),
            (&[""], &[Identity]),
            (&["gzip"], &[Gzip, Identity]),
            (&[", gzip"], &[Gzip, Identity]),
            (&[",", ",,br ,, gzip;q=0.5,"], &[Brotli, Gzip, Identity]),
            (&["x-gzip"], &[Gzip, Identity]),
            (&["gzip, deflate, br, zstd"], &[Brotli, Zstandard, Gzip, Identity]),
            (&["gzip;q=1.0, br;q=0.5"], &[Gzip, Brotli, Identity]),
            (&["GZIP ; Q=0.5"], &[Gzip, Identity]),
            (&["gzip", "br"], &[Brotli, Gzip, Identity]),
            (&["gzip;q=0"], &[Identity]),
            (&["gzip;q=0.5, identity;q=0.9"], &[Identity, Gzip]),
            (&["gzip, identity;q=0"], &[Gzip]),
            (&["identity;q=0"], &[]),
            (&["*"], &[Brotli, Zstandard, Gzip, Identity]),
            (&["*;q=0"], &[]),
            (&["br, *;q=0"], &[Brotli]),
            (&["gzip;q=nonsense"], &[Identity]),
            (&["gzip;q=7"], &[Identity]),
        ];
        for (fields, expected) in rows {
            let got = accepted(fields.iter().map(|field| field.as_bytes()));
            assert_eq!(got.collect::<Vec<_>>(), *expected, "{fields:?}");
        }
    }
}
