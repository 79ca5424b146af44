//! Times as the original's rooms hold them (SPEC 7.14), and back as people read them.

use partysync_model::ValueRef;
use partysync_protocol::Millis;

/// A number below this is seconds, from this on milliseconds: in seconds it is the year 5138, in milliseconds 1973.
const LEAST_MILLIS: i64 = 100_000_000_000;

/// The end of the year 9999: no time that somebody meant is later.
const LAST: Millis = 253_402_300_799_999;

/// A number below this, which has fewer than ten digits, is no time that somebody meant: in seconds it is before September 2001. A Julian
/// day is such a number, and so is a 1 that marks something. Only 0 is meant as it stands: the first of all times.
const LEAST: i64 = 1_000_000_000;

/// Fewer digits than those of [`LEAST`] are not read as a number.
const DIGITS: usize = 10;

const DAY_MS: Millis = 86_400_000;

/// Reads a stored time. `Ok(None)` is NULL, `Err` what is none.
pub(super) fn read(value: ValueRef<'_>) -> Result<Option<Millis>, ()> {
    let time = match value {
        ValueRef::Null => return Ok(None),
        ValueRef::Integer(number) => of_integer(number),
        ValueRef::Real(number) => of_real(number),
        ValueRef::Text(text) => of_text(text),
        ValueRef::Blob(_) => None,
    };
    time.map(Some).ok_or(())
}

fn of_integer(number: i64) -> Option<Millis> {
    let size = number.unsigned_abs();
    let millis = if size < LEAST_MILLIS.unsigned_abs() { number.checked_mul(1_000)? } else { number };
    ((number == 0 || size >= LEAST.unsigned_abs()) && (-LAST..=LAST).contains(&millis)).then_some(millis)
}

fn of_real(number: f64) -> Option<Millis> {
    let millis = if number.abs() < LEAST_MILLIS as f64 { number * 1_000.0 } else { number };
    let is_meant = number == 0.0 || number.abs() >= LEAST as f64;
    (is_meant && millis.abs() <= LAST as f64).then(|| millis.round() as Millis)
}

/// `YYYY-MM-DD`, then perhaps `HH:MM`, seconds, a fraction, and a zone, as SQLite and JSON have them; without a zone it is
/// UTC. Or a number, as a column of type TEXT makes it one.
fn of_text(text: &str) -> Option<Millis> {
    if text.len() >= DIGITS && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok().and_then(of_integer);
    }
    let mut rest = Rest(text.as_bytes());
    let (year, month, day) = (rest.digits(4)?, rest.after(b'-')?, rest.after(b'-')?);
    let days = days(year, month, day)?;
    if rest.is_empty() {
        return Some(days * DAY_MS);
    }
    if !b" Tt".iter().any(|separator| rest.eat(*separator)) {
        return None;
    }
    let (hour, minute) = (rest.digits(2)?, rest.after(b':')?);
    let (mut second, mut millis) = (0, 0);
    if rest.eat(b':') {
        second = rest.digits(2)?;
        if rest.eat(b'.') {
            millis = rest.fraction()?;
        }
    }
    let zone = rest.zone()?;
    let fits = hour < 24 && minute < 60 && second < 60 && rest.is_empty();
    let seconds = hour * 3_600 + (minute - zone) * 60 + second;
    fits.then_some(days * DAY_MS + seconds * 1_000 + millis)
}

/// What is not read of a text.
struct Rest<'t>(&'t [u8]);

impl Rest<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn eat(&mut self, byte: u8) -> bool {
        let rest = self.0.strip_prefix(&[byte]);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    /// A number of exactly so many digits.
    fn digits(&mut self, count: usize) -> Option<i64> {
        let (digits, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        digits.iter().try_fold(0, |number, digit| digit.is_ascii_digit().then(|| number * 10 + i64::from(digit - b'0')))
    }

    /// Two digits that come after a separator.
    fn after(&mut self, separator: u8) -> Option<i64> {
        if self.eat(separator) { self.digits(2) } else { None }
    }

    /// Milliseconds; what is finer goes.
    fn fraction(&mut self) -> Option<i64> {
        let count = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = self.0.split_at(count);
        self.0 = rest;
        let millis = (0..3).map(|place| digits.get(place).map_or(0, |digit| i64::from(digit - b'0')));
        (count > 0).then(|| millis.fold(0, |number, digit| number * 10 + digit))
    }

    /// Minutes east of UTC.
    fn zone(&mut self) -> Option<i64> {
        if self.is_empty() || self.eat(b'Z') || self.eat(b'z') {
            return Some(0);
        }
        let sign = if self.eat(b'+') { 1 } else { self.eat(b'-').then_some(-1)? };
        let (hours, minutes) = (self.digits(2)?, self.after(b':')?);
        (hours < 24 && minutes < 60).then_some(sign * (hours * 60 + minutes))
    }
}

/// The days from 1970-01-01 to a date of the Gregorian calendar.
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let lengths = [31, if is_leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let before = usize::try_from(month.checked_sub(1)?).ok()?;
    if !(1..=*lengths.get(before)?).contains(&day) {
        return None;
    }
    let years = year - 1;
    let since_year_1 = years * 365 + years.div_euclid(4) - years.div_euclid(100) + years.div_euclid(400);
    Some(since_year_1 + lengths[..before].iter().sum::<i64>() + day - 1 - 719_162)
}

/// A time as `YYYY-MM-DD HH:MM:SS`, in UTC.
pub(super) fn write(time: Millis) -> String {
    let (day, second) = (time.div_euclid(DAY_MS), time.rem_euclid(DAY_MS) / 1_000);
    // A year of the calendar is 365.2425 days on average: the guess is at most one off.
    let guess = 1970 + (day as f64 / 365.2425).floor() as i64;
    let begins_by = |year: &i64| days(*year, 1, 1).is_some_and(|first| first <= day);
    let year = [guess + 1, guess].into_iter().find(begins_by).unwrap_or(guess - 1);
    let first_of = |month: i64| days(year, month, 1).filter(|first| *first <= day);
    let (month, first) = (1..=12).rev().find_map(|month| first_of(month).map(|f| (month, f))).unwrap_or((1, day));
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{:02} {hour:02}:{minute:02}:{second:02}", day - first + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Result<Option<Millis>, ()> {
        read(ValueRef::Text(text))
    }

    #[test]
    fn spec_7_14_texts_are_times_of_utc_unless_they_say_otherwise() {
        // date -u -d '2026-11-23 01:47:34' +%s
        let at = 1_795_398_454_000;
        for (stored, millis) in [
            ("2026-11-23 01:47:34", at),
            ("2026-11-23T01:47:34Z", at),
            ("2026-11-23t01:47:34z", at),
            ("2026-11-23 01:47:34.5", at + 500),
            ("2026-11-23T01:47:34.123456Z", at + 123),
            ("2026-11-23T03:47:34+02:00", at),
            ("2026-11-22T22:17:34.001-03:30", at + 1),
            ("2026-11-23 01:47", at - 34_000),
            ("2026-11-23", at - 6_454_000),
            ("1795398454", at),
            ("1795398454000", at),
            ("1970-01-01 00:00:00", 0),
            ("1969-12-31 23:59:59", -1_000),
            ("2000-02-29 00:00:00", 951_782_400_000),
        ] {
            assert_eq!(text(stored), Ok(Some(millis)), "{stored}");
        }
    }

    #[test]
    fn spec_7_14_numbers_are_milliseconds_or_seconds_by_their_size() {
        let at = 1_795_398_454_000;
        assert_eq!(read(ValueRef::Null), Ok(None));
        for (stored, millis) in [
            (ValueRef::Integer(at), at),
            (ValueRef::Integer(at / 1_000), at),
            (ValueRef::Integer(0), 0),
            (ValueRef::Integer(LEAST), LEAST * 1_000),
            (ValueRef::Integer(-LEAST), LEAST * -1_000),
            (ValueRef::Integer(LEAST_MILLIS), LEAST_MILLIS),
            (ValueRef::Integer(LEAST_MILLIS - 1), (LEAST_MILLIS - 1) * 1_000),
            (ValueRef::Real(0.0), 0),
            (ValueRef::Real(LEAST as f64), LEAST * 1_000),
            (ValueRef::Real(1_795_398_454.25), at + 250),
            (ValueRef::Real(1_795_398_454_000.0), at),
        ] {
            assert_eq!(read(stored), Ok(Some(millis)), "{stored:?}");
        }
    }

    #[test]
    fn spec_7_14_what_is_no_time_is_not_taken_for_one() {
        let texts =
            ["", "now", "2026", "20261123", "2026-13-01", "2026-02-29", "2026-04-31 00:00:00", "2026-11-23 24:00:00"];
        let more =
            ["2026-11-23 01:60:00", "2026-11-23 01:47:60", "2026-11-23 01:47:34 ", "2026-11-23 01:47:34.", "26-11-23"];
        let zones =
            ["2026-11-23T01:47:34+2", "2026-11-23T01:47:34+02:60", "2026-11-23T01:47:34X", "2026-1１-23", "2026-11-2"];
        let far = ["99999999999999999999999", "9999999999999999"];
        for stored in [&texts[..], &more, &zones, &far].concat() {
            assert_eq!(text(stored), Err(()), "{stored}");
        }
        // Microseconds, numbers of too few digits, among them days, and what is none.
        let days = 2_460_000;
        for stored in [1_795_398_454_000_000, i64::MIN, i64::MIN + 1, i64::MAX, days, LEAST - 1, 1 - LEAST, 1] {
            assert_eq!(read(ValueRef::Integer(stored)), Err(()), "{stored}");
        }
        for stored in [2_460_000.5, 0.5, 999_999_999.9, f64::MAX, f64::INFINITY, f64::NEG_INFINITY, f64::NAN] {
            assert_eq!(read(ValueRef::Real(stored)), Err(()), "{stored}");
        }
        assert_eq!(read(ValueRef::Blob(b"x")), Err(()));
    }

    #[test]
    fn what_is_written_reads_as_the_same_second() {
        for time in (-LAST / 1_000..LAST / 1_000).step_by(86_399_999).map(|second| second * 1_000) {
            // Years before 0 have a sign, which nobody stores.
            if time > -62_167_219_200_000 {
                assert_eq!(text(&write(time)), Ok(Some(time)), "{}", write(time));
            }
        }
        assert_eq!(write(1_795_398_454_999), "2026-11-23 01:47:34");
    }
}
