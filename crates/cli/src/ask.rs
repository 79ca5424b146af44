//! Asking a home.

use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;
use std::{env, fs};

use ureq::http::header::{AUTHORIZATION, CONTENT_LENGTH};
use ureq::http::{Response, StatusCode};
use ureq::{Agent, Body, SendBody};

use crate::error::Error;

/// The variable with the token.
const TOKEN: &str = "PARTYSYNC_ADMIN_TOKEN";

/// Of the server's words, when it refuses.
const WORDS_BYTES: u64 = 4 << 10;

/// Until somebody answers the call at all.
const CONNECT: Duration = Duration::from_secs(10);

/// What is read at once.
const CHUNK_BYTES: usize = 64 << 10;

/// The token: never an argument, which all users of the machine can read.
pub(crate) fn token(file: Option<&Path>) -> Result<String, Error> {
    let token = match file {
        Some(file) => fs::read_to_string(file).map_err(Error::file(file))?,
        None => env::var(TOKEN)
            .map_err(|_| Error::Usage(format!("set {TOKEN} to the admin token, or name its file with --token-file")))?,
    };
    let token = token.trim().to_owned();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Error::Usage("this is no admin token: it has characters of ASCII, and no spaces".to_owned()));
    }
    Ok(token)
}

/// A room in a home.
pub(crate) struct Home {
    agent: Agent,
    url: String,
    authorization: String,
}

impl Home {
    pub(crate) fn new(admin: &str, party: &str, room: &str, token: &str) -> Result<Self, Error> {
        if !admin.starts_with("http://") && !admin.starts_with("https://") {
            return Err(Error::Usage(format!("{admin} is no URL: it begins with http:// or https://")));
        }
        for (what, name) in [("party", party), ("room", room)] {
            if !is_segment(name) {
                let why = format!("{name:?} is no {what}'s name: write it as it stands in an address, percent-encoded");
                return Err(Error::Usage(why));
            }
        }
        let config = Agent::config_builder()
            .timeout_connect(Some(CONNECT))
            // A status is no failure, and a token is for who was asked.
            .http_status_as_error(false)
            .max_redirects(0)
            .user_agent(concat!("partysync/", env!("CARGO_PKG_VERSION")));
        Ok(Home {
            agent: config.build().into(),
            url: format!("{}/rooms/{party}/{room}/export", admin.trim_end_matches('/')),
            authorization: format!("Bearer {token}"),
        })
    }

    /// The room's file, as it comes, and how long it is if that is known.
    pub(crate) fn get(&self) -> Result<(impl Read, Option<u64>), Error> {
        let answer = self.agent.get(&self.url).header(AUTHORIZATION, &self.authorization).call();
        let answer = granted(answer.map_err(|error| self.failed(&error))?, StatusCode::OK)?;
        let length = answer.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        Ok((answer.into_body().into_reader(), length))
    }

    /// Sends a file, and returns what the server says.
    pub(crate) fn put(
        &self,
        file: &mut dyn Read,
        length: Option<u64>,
        flags: &[(&str, bool)],
    ) -> Result<String, Error> {
        let mut request = self.agent.put(&self.url).header(AUTHORIZATION, &self.authorization);
        for (name, _) in flags.iter().filter(|(_, is_set)| *is_set) {
            request = request.query(name, "true");
        }
        if let Some(length) = length {
            request = request.header(CONTENT_LENGTH, length);
        }
        // So that who is refused sends nothing.
        request = request.header("expect", "100-continue");
        let answer = request.send(SendBody::from_reader(file)).map_err(|error| self.failed(&error))?;
        match granted(answer, StatusCode::CREATED) {
            Ok(answer) => words(answer),
            Err(Error::Refused { status, text }) => Err(Error::Refused { status, text: as_options(&text, flags) }),
            Err(error) => Err(error),
        }
    }

    fn failed(&self, error: &ureq::Error) -> Error {
        Error::failed(&*self.url, error)
    }
}

/// The server's words name parameters of its address, which are options here: `rename=true` is `--rename`.
fn as_options(words: &str, flags: &[(&str, bool)]) -> String {
    flags.iter().fold(words.to_owned(), |words, (name, _)| words.replace(&format!("{name}=true"), &format!("--{name}")))
}

/// Whether it can stand in a path as it is.
fn is_segment(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic() && !b"/?#\"<>\\^`{|}".contains(&byte))
}

fn granted(answer: Response<Body>, wanted: StatusCode) -> Result<Response<Body>, Error> {
    let status = answer.status();
    if status == wanted {
        return Ok(answer);
    }
    let text = words(answer)?;
    let text = if text.is_empty() { "The server says no more than a status.".to_owned() } else { text };
    Err(Error::Refused { status: status.as_u16(), text })
}

fn words(answer: Response<Body>) -> Result<String, Error> {
    let mut words = Vec::new();
    let read = answer.into_body().into_reader().take(WORDS_BYTES).read_to_end(&mut words);
    read.map_err(|error| Error::failed("the answer", error))?;
    // Whatever it is, a terminal must not take it for orders.
    let words: String = String::from_utf8_lossy(&words).chars().filter(|c| !c.is_control() || *c == '\n').collect();
    Ok(words.trim().to_owned())
}

/// Takes all that `from` has, piece by piece.
pub(crate) fn pieces(from: &mut dyn Read, each: &mut dyn FnMut(&[u8]) -> Result<(), Error>) -> Result<(), Error> {
    let mut piece = vec![0; CHUNK_BYTES];
    loop {
        match from.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(read) => each(&piece[..read])?,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::failed("it did not come to its end", error)),
        }
    }
}

/// Writes all of it.
pub(crate) fn write(to: &mut dyn Write, piece: &[u8]) -> Result<(), Error> {
    to.write_all(piece).map_err(|error| Error::failed("it cannot be written", error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spec_12_12_a_name_is_a_raw_segment_of_a_path() {
        for name in ["lobby", "a%20b", "..", "a&b=c", "-x", "a:b@c"] {
            assert!(is_segment(name), "{name}");
        }
        for name in ["", "a b", "a/b", "a?b", "a#b", "ü", "a\nb", "a\"b"] {
            assert!(!is_segment(name), "{name}");
        }
    }
}
