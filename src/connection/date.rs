//! The date in responses: one reading of the system's clock, and one text, for all of a second.

use std::io::Write;
use std::time::{Duration, Instant, SystemTime};

/// The value of a `Date` field, formatted once a second.
#[derive(Debug, Default)]
pub struct DateCache {
    /// When the second of the text is over.
    over: Option<Instant>,
    text: Vec<u8>,
}

impl DateCache {
    /// The date as an IMF-fixdate (RFC 9110, section 5.6.7). `now` is a moment that the caller has
    /// already; `date` asks for the date, which costs time as well, once a second.
    pub fn text(&mut self, now: Instant, date: impl FnOnce() -> SystemTime) -> &[u8] {
        if self.over.is_none_or(|over| now >= over) {
            let since_epoch = date().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            let second = Duration::from_secs(since_epoch.as_secs());
            self.over = Some(now + (second + Duration::from_secs(1)).saturating_sub(since_epoch));
            self.text.clear();
            // Writing into a `Vec` cannot fail.
            let _ =
                write!(self.text, "{}", httpdate::HttpDate::from(SystemTime::UNIX_EPOCH + second));
        }
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_formatted_anew_when_the_second_changes() {
        let (mut cache, start) = (DateCache::default(), Instant::now());
        let mut asked = 0;
        let mut text = |after, millis| {
            let date = SystemTime::UNIX_EPOCH + Duration::from_millis(millis);
            let now = start + Duration::from_millis(after);
            let text = cache.text(now, || {
                asked += 1;
                date
            });
            (String::from_utf8_lossy(text).into_owned(), asked)
        };
        let first = ("Sun, 06 Nov 1994 08:49:37 GMT".to_owned(), 1);
        let then = ("Sun, 06 Nov 1994 08:49:38 GMT".to_owned(), 2);
        assert_eq!(text(0, 784_111_777_600), first);
        assert_eq!(text(399, 784_111_777_999), first);
        assert_eq!(text(400, 784_111_778_000), then);
        assert_eq!(text(1399, 784_111_778_999), then);
        // Somebody has set the clock back.
        let back = ("Sun, 06 Nov 1994 08:49:37 GMT".to_owned(), 3);
        assert_eq!(text(1400, 784_111_777_000), back);
        assert_eq!(text(2399, 784_111_777_999), back);
    }
}
