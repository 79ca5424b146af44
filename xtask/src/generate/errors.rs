//! The catalogue of errors and close codes, as SPEC, the documents and the TypeScript client have it.

use std::fmt::Write;

use partysync_protocol::{
    CLOSE_CODES, CloseCode, ComeBack, ErrorCode, Fault, GOOD_SOCKET_MS, LONGEST_DELAY_MS, Retry, USUAL_COME_BACK,
};

/// The longest line that the TypeScript's formatter leaves whole.
const TYPESCRIPT_WIDTH: usize = 120;

/// The table of SPEC section 10.
pub(super) fn spec_table() -> String {
    let mut out = "| code | fault | retry | text |\n| --- | --- | --- | --- |\n".to_owned();
    for &code in ErrorCode::ALL {
        let text = if code == ErrorCode::Rejected { "the app's" } else { code.text() };
        let _ = writeln!(out, "| `{code}` | {} | {} | {text} |", fault(code.fault()), retry(code.retry()));
    }
    out
}

/// The table of SPEC 8.27.
pub(super) fn spec_closes() -> String {
    let mut out = "| code | meaning | the client comes back |\n| --- | --- | --- |\n".to_owned();
    for close in CLOSE_CODES.iter().filter(|close| close.is_ours) {
        let _ = writeln!(out, "| {} | {} | {} |", span(close), close.meaning, come_back(close.come_back));
    }
    out
}

/// A section for each code.
pub(super) fn docs() -> String {
    let section = |&code: &ErrorCode| {
        let text = if code == ErrorCode::Rejected { "*the app's text*" } else { code.text() };
        let (fault, retry) = (fault(code.fault()), in_words(code.retry()));
        let (when, advice) = (code.when(), code.advice());
        format!(
            "### `{code}`\n\n> {text}\n\n- **At fault:** {fault}. **Does a retry help?** {retry}\n- **When:** {when}\n- **What to do:** {advice}\n"
        )
    };
    ErrorCode::ALL.iter().map(section).collect::<Vec<_>>().join("\n")
}

/// A table of the close codes.
pub(super) fn docs_closes() -> String {
    let mut out =
        "| code | meaning | when | does the client come back? | in place of it, where the socket carries other rooms |\n\
         | --- | --- | --- | --- | --- |\n"
            .to_owned();
    for close in CLOSE_CODES {
        let left = close.left.map_or("`rejected`".to_owned(), |code| format!("`{code}`"));
        let left = if close.is_ours { left } else { String::new() };
        let (span, come_back) = (span(close), come_back(close.come_back));
        let _ = writeln!(out, "| {span} | {} | {} | {come_back} | {left} |", close.meaning, close.when);
    }
    out
}

pub(super) fn typescript() -> String {
    let mut out =
        "// Made by `cargo xtask generate` from the tables of crates/protocol. Not to be edited.\n\n".to_owned();
    out += "/** Who has to change something (SPEC 10.1). */\n";
    out += "export type Fault = \"client\" | \"app\" | \"server\";\n\n";
    out += "/** Whether sending the same again can help (SPEC 10.1). */\n";
    out += "export type Retry = \"never\" | \"later\" | \"rejoin\";\n\n";
    out += "/** The closed catalogue of errors (SPEC section 10). The texts are fit for a user. */\nexport const ERRORS = {\n";
    for &code in ErrorCode::ALL {
        let fields = [
            ("fault", format!("\"{}\"", fault(code.fault()))),
            ("retry", format!("\"{}\"", retry(code.retry()))),
            ("text", format!("{:?}", code.text())),
        ];
        out += &entry(code.as_str(), &fields);
    }
    out += "} as const;\n\n/** A code of the catalogue. */\nexport type ErrorCode = keyof typeof ERRORS;\n\n";
    out += "/**\n * Whether a client comes back after a close code (SPEC 8.27): for the first row that has it, from and to, after so many\n";
    out += " * milliseconds at least and at first at most; not unchanged, if there are none. After any other code it does as after 1006.\n */\n";
    out += "export const CLOSE_CODES: readonly (readonly [from: number, to: number, leastMs?: number, mostMs?: number])[] = [\n";
    for close in CLOSE_CODES.iter().filter(|close| !is_usual(close)) {
        // In a comment: a page does not load it.
        let delay = match close.come_back {
            ComeBack::Within { least_ms, most_ms } => format!(", {least_ms}, {most_ms}"),
            ComeBack::No | ComeBack::NotUnchanged => String::new(),
        };
        out += &format!("  // {}\n  [{}, {}{delay}],\n", close.meaning, close.codes.start(), close.codes.end());
    }
    out += "];\n\n";
    let ComeBack::Within { most_ms, .. } = USUAL_COME_BACK else { return out };
    out += "/** How long a client waits at first after a connection that broke, at most. */\n";
    out += &format!("export const USUAL_MS = {most_ms};\n\n");
    out += "/** The longest that it ever waits. */\n";
    out += &format!("export const LONGEST_MS = {LONGEST_DELAY_MS};\n\n");
    out += "/** A socket that was open for so long is no failure. */\n";
    out += &format!("export const GOOD_MS = {GOOD_SOCKET_MS};\n");
    out
}

fn is_usual(close: &CloseCode) -> bool {
    close.come_back == USUAL_COME_BACK
}

/// An object, on one line if it fits.
fn entry(name: &str, fields: &[(&str, String)]) -> String {
    let name = if name.is_empty() { String::new() } else { format!("{name}: ") };
    let fields: Vec<String> = fields.iter().map(|(key, value)| format!("{key}: {value}")).collect();
    let line = format!("  {name}{{ {} }},", fields.join(", "));
    if line.chars().count() <= TYPESCRIPT_WIDTH {
        return line + "\n";
    }
    let lines: String = fields.iter().map(|field| format!("    {field},\n")).collect();
    format!("  {name}{{\n{lines}  }},\n")
}

pub(crate) fn fault(fault: Fault) -> &'static str {
    match fault {
        Fault::Client => "client",
        Fault::App => "app",
        Fault::Server => "server",
    }
}

pub(crate) fn retry(retry: Retry) -> &'static str {
    match retry {
        Retry::Never => "never",
        Retry::Later => "later",
        Retry::Rejoin => "rejoin",
    }
}

fn in_words(retry: Retry) -> &'static str {
    match retry {
        Retry::Never => "No (`never`).",
        Retry::Later => "Yes, after a while (`later`).",
        Retry::Rejoin => "Yes, after joining the room again (`rejoin`).",
    }
}

pub(crate) fn span(close: &CloseCode) -> String {
    let (from, to) = (close.codes.start(), close.codes.end());
    if from == to { from.to_string() } else { format!("{from} to {to}") }
}

pub(crate) fn come_back(come_back: ComeBack) -> String {
    let seconds = |ms: u64| ms / 1_000;
    match come_back {
        ComeBack::No => "no".to_owned(),
        ComeBack::Within { least_ms: 0, most_ms } => format!("after a random delay of up to {} s", seconds(most_ms)),
        ComeBack::Within { least_ms, most_ms } => {
            format!("after a random delay of {} to {} s", seconds(least_ms), seconds(most_ms))
        }
        ComeBack::NotUnchanged => "not unchanged".to_owned(),
    }
}
