//! What a Prometheus, or whatever is behind its address, answers.

use serin::analysis::Answer;
use serin::metrics::interpret;

/// Longest text about an answer, in bytes: it goes into the status, an Event and an alert.
const TEXT_BYTES_MAX: usize = 2000;

/// Reads an answer: status and content type in the first line, then the body.
pub fn run(bytes: &[u8]) {
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(0);
    let (head, body) = bytes.split_at(end);
    let head = String::from_utf8_lossy(head);
    let (status, media_type) = head.split_once(' ').map_or((&*head, None), |(status, kind)| (status, Some(kind)));
    match interpret(status.parse().unwrap_or(200), media_type, body) {
        Answer::Value(value) => assert!(!value.is_nan()),
        Answer::NoData(text) | Answer::Error(text) => {
            assert!(!text.is_empty() && text.len() <= TEXT_BYTES_MAX, "a text of {} bytes", text.len());
            assert!(!text.contains('\n'), "more than one line: {text:?}");
        }
    }
}
