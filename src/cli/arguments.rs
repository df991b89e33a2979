//! Flags as Flagger spells them: with one dash.

use std::ffi::OsString;

/// The arguments with two dashes before every long flag: Go's flag package, and so every Flagger Deployment, writes
/// `-mesh-provider=x`. What follows a lone `--` stays as it is.
pub fn with_two_dashes(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut verbatim = false;
    arguments
        .into_iter()
        .map(|argument| {
            verbatim |= argument == "--";
            match argument.to_str() {
                Some(text) if !verbatim && is_long_with_one_dash(text) => OsString::from(format!("-{text}")),
                _ => argument,
            }
        })
        .collect()
}

fn is_long_with_one_dash(argument: &str) -> bool {
    argument.len() > 2
        && argument.strip_prefix('-').is_some_and(|name| name.starts_with(|first: char| first.is_ascii_alphabetic()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_flags_get_their_second_dash() {
        for (argument, expected) in [
            ("-mesh-provider=gatewayapi:v1", "--mesh-provider=gatewayapi:v1"),
            ("--mesh-provider=gatewayapi:v1", "--mesh-provider=gatewayapi:v1"),
            ("-version", "--version"),
            ("-v=4", "--v=4"),
            ("-h", "-h"),
            ("-5", "-5"),
            ("-50", "-50"),
            ("-", "-"),
            ("controller", "controller"),
        ] {
            assert_eq!(with_two_dashes([OsString::from(argument)]), [expected], "{argument}");
        }
        let verbatim = ["--", "-file.yaml"].map(OsString::from);
        assert_eq!(with_two_dashes(verbatim.clone()), verbatim);
    }
}
