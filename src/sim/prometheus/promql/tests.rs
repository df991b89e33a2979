//! What Prometheus answers, in tables: samples, queries, numbers worked out by hand from its rules.

use super::expression::Selector;
use super::{Labels, Point, Sample, Samples, Series, Text, Value, evaluate, parse};

/// Labels, and samples by time in milliseconds; `None` is where the series is known to have ended.
type WrittenSeries = (Labels, Vec<(i64, Option<f64>)>);

/// Samples written as text: a series and its samples in each line, `STEP` seconds apart from time zero on. `_` is a
/// scrape that did not see the series and left no trace, `stale` one after which it is known to have ended.
struct Written {
    series: Vec<WrittenSeries>,
}

impl Written {
    fn new(step_seconds: i64, text: &str) -> Self {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        Self { series: lines.map(|line| Self::line(step_seconds, line)).collect() }
    }

    fn line(step_seconds: i64, line: &str) -> WrittenSeries {
        let (name, values) = line.split_once(' ').unwrap();
        let (metric, pairs) = name.split_once('{').unwrap_or((name, "}"));
        let mut labels: Vec<(Text, Text)> = vec![("__name__".into(), metric.to_owned().into())];
        for pair in pairs.trim_end_matches('}').split(',').filter(|pair| !pair.is_empty()) {
            let (label, value) = pair.split_once('=').unwrap();
            labels.push((label.to_owned().into(), value.trim_matches('"').to_owned().into()));
        }
        let values = values.split_whitespace().enumerate().filter_map(|(index, word)| {
            let at = i64::try_from(index).unwrap() * step_seconds * 1000;
            match word {
                "_" => None,
                "stale" => Some((at, None)),
                number => Some((at, Some(number.parse().unwrap()))),
            }
        });
        (Labels::new(labels), values.collect())
    }

    fn selected(&self, selector: &Selector) -> impl Iterator<Item = &WrittenSeries> {
        self.series.iter().filter(|(labels, _)| selector.matches(labels))
    }
}

impl Samples for Written {
    fn newest(&self, selector: &Selector, at: i64) -> Vec<Sample> {
        let newest = self.selected(selector).filter_map(|(labels, samples)| {
            let (_, value) = samples.iter().rev().find(|(time, _)| *time <= at && *time > at - 300_000)?;
            Some(Sample { labels: labels.clone(), value: (*value)? })
        });
        newest.collect()
    }

    fn within(&self, selector: &Selector, after: i64, until: i64) -> Vec<Series> {
        let series = self.selected(selector).map(|(labels, samples)| {
            let within = samples.iter().filter(|(time, _)| *time > after && *time <= until);
            let points = within.filter_map(|(time, value)| Some(Point { at_milliseconds: *time, value: (*value)? }));
            Series { labels: labels.clone(), points: points.collect() }
        });
        series.filter(|series| !series.points.is_empty()).collect()
    }
}

/// The answer as text: `LABELS VALUE; LABELS VALUE`, or the error.
fn answer(samples: &Written, query: &str, at_seconds: i64) -> String {
    let expression = match parse(query) {
        Ok(expression) => expression,
        Err(error) => return error.to_string(),
    };
    match evaluate(&expression, at_seconds * 1000, samples) {
        Ok(Value::Scalar(number)) => rounded(number),
        Ok(Value::Text(text)) => text,
        Ok(Value::Instant(samples)) => {
            let lines: Vec<String> =
                samples.iter().map(|sample| line(&sample.labels, &rounded(sample.value))).collect();
            lines.join("; ")
        }
        Ok(Value::Range(series)) => {
            let values = |points: &[Point]| {
                let values: Vec<String> =
                    points.iter().map(|point| format!("{}@{}", point.value, point.at_milliseconds / 1000)).collect();
                values.join(" ")
            };
            let lines: Vec<String> =
                series.iter().map(|series| line(&series.labels, &values(&series.points))).collect();
            lines.join("; ")
        }
        Err(error) => error.to_string(),
    }
}

fn line(labels: &Labels, value: &str) -> String {
    let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    if labels.is_empty() { value.to_owned() } else { format!("{} {value}", labels.join(",")) }
}

/// Nine digits are enough to tell one rule from another.
fn rounded(number: f64) -> String {
    let rounded = (number * 1e9).round() / 1e9;
    if rounded.is_finite() { rounded.to_string() } else { number.to_string() }
}

fn check(samples: &Written, at_seconds: i64, cases: &[(&str, &str)]) {
    for (query, expected) in cases {
        assert_eq!(answer(samples, query, at_seconds), *expected, "{query}");
    }
}

#[test]
fn rates_reach_to_the_edges_where_samples_are_near() {
    // Scrapes each 15 s. In (t-60, t] at t=60: samples at 15, 30, 45, 60; the start is 15 s away, less than 1.1 * 15.
    let samples = Written::new(
        15,
        "full 100 115 130 145 160 175 190
         young _ _ _ 1000 1015 1030 1045
         zero _ _ 2 62 122 182 242
         single _ _ _ _ 5
         ended 100 115 130 145 stale",
    );
    check(
        &samples,
        60,
        &[
            // 45 in 45 s; 15 s are added at the start, none at the end: 60 in 60 s.
            ("increase(full[1m])", "60"),
            ("rate(full[1m])", "1"),
            // Samples at 45 and 60: the start is 45 s away; half of a distance is added: 15 * 22.5 / 15.
            ("increase(young[1m])", "22.5"),
            // Samples 2, 62, 122 at 30, 45, 60: the start would be 7.5 s before, but zero is 30 * 2 / 120 = 0.5 s before.
            ("increase(zero[1m])", "122"),
            // One sample is none.
            ("increase(single[1m])", ""),
            // Samples at 15, 30, 45; the end is 15 s away, and so reached.
            ("increase(ended[1m])", "60"),
            ("rate(nothing[1m])", ""),
            ("delta(young[1m])", "22.5"),
            ("irate(full[1m])", "1"),
        ],
    );
    // At 62: samples at 15, 30, 45, 60 in (2, 62]; 13 s and 2 s are added.
    check(&samples, 62, &[("increase(full[1m])", "60")]);
    // A range holds its end and not its start: at 75 over 30 s are the samples of 60 and 75.
    check(&samples, 75, &[("full[30s]", "__name__=full 160@60 175@75"), ("increase(full[30s])", "30")]);
    check(&samples, 90, &[("increase(full[1m] offset 30s)", "60"), ("full offset 1m", "__name__=full 130")]);
}

#[test]
fn counter_resets_do_not_lose_what_was_counted() {
    let samples = Written::new(
        10,
        "restarted 100 110 120 5 15 25 35
         twice 50 60 10 20 5 15 25",
    );
    check(
        &samples,
        60,
        &[
            // 35 - 110 + 120 = 45 in 50 s from the sample at 10; 10 s to the start: 45 * 60 / 50.
            ("increase(restarted[1m])", "54"),
            // 25 - 60 + 60 + 20 = 45.
            ("increase(twice[1m])", "54"),
            ("rate(twice[1m])", "0.9"),
            // A gauge may fall: -75 * 60 / 50.
            ("delta(restarted[1m])", "-90"),
        ],
    );
    // The last two samples are 120 and 5: it counted 5 since it began.
    check(&samples, 30, &[("irate(restarted[1m])", "0.5")]);
}

#[test]
fn missing_scrapes_widen_the_distance_of_samples() {
    let samples = Written::new(15, "gaps 0 15 _ _ 60 75 _ _ 120");
    check(
        &samples,
        120,
        &[
            // Samples at 60, 75, 120 in (0, 120]; and at 15. 105 in 105 s, 35 s apart on average; 15 s are near.
            // But zero was 105 * 15 / 105 = 15 s before the first.
            ("increase(gaps[2m])", "120"),
            // In (60, 120]: 75 and 120; 15 s to the start are less than 1.1 * 45.
            ("increase(gaps[1m])", "60"),
        ],
    );
}

#[test]
fn the_newest_sample_counts_for_five_minutes_unless_it_is_stale() {
    let samples = Written::new(
        60,
        "lasting 1 2
         ended 1 2 stale",
    );
    for (at, expected) in [
        (60, "__name__=lasting 2; __name__=ended 2"),
        (119, "__name__=lasting 2; __name__=ended 2"),
        (120, "__name__=lasting 2"),
        (359, "__name__=lasting 2"),
        (360, ""),
    ] {
        assert_eq!(answer(&samples, r#"{__name__=~"lasting|ended"}"#, at), expected, "at {at}");
    }
}

const HISTOGRAMS: &str = r#"
    h{pod="a",le="0.1"} 50
    h{pod="a",le="0.5"} 90
    h{pod="a",le="1.0"} 90
    h{pod="a",le="+Inf"} 100
    h{pod="b",le="0.1"} 0
    h{pod="b",le="0.5"} 0
    h{pod="b",le="+Inf"} 0
    open{le="0.1"} 1
    open{le="0.5"} 2
    lone{le="+Inf"} 5
    negative{le="-1"} 5
    negative{le="+Inf"} 10
    twisted{le="1"} 10
    twisted{le="2"} 8
    twisted{le="+Inf"} 20
    text{le="many"} 1
    text{le="1"} 2
    text{le="+Inf"} 4
"#;

#[test]
fn quantiles_are_interpolated_within_their_bucket() {
    let samples = Written::new(15, HISTOGRAMS);
    check(
        &samples,
        0,
        &[
            // Rank 25 of 50 in (0, 0.1].
            (r#"histogram_quantile(0.25, h{pod="a"})"#, "pod=a 0.05"),
            // Rank 70: 20 of the 40 in (0.1, 0.5].
            (r#"histogram_quantile(0.7, h{pod="a"})"#, "pod=a 0.3"),
            // Rank 95 is beyond 1: the highest bound that is known.
            (r#"histogram_quantile(0.95, h{pod="a"})"#, "pod=a 1"),
            (r#"histogram_quantile(0.9, h{pod="a"})"#, "pod=a 0.5"),
            (r#"histogram_quantile(0, h{pod="a"})"#, "pod=a 0"),
            (r#"histogram_quantile(-1, h{pod="a"})"#, "pod=a -inf"),
            (r#"histogram_quantile(1.1, h{pod="a"})"#, "pod=a inf"),
            (r#"histogram_quantile(NaN, h{pod="a"})"#, "pod=a NaN"),
            // Nothing was counted.
            (r#"histogram_quantile(0.5, h{pod="b"})"#, "pod=b NaN"),
            // Both pods together, the bound 1.0 known of one alone: 90 of 90, so no harm.
            ("histogram_quantile(0.7, sum(h) by (le))", "0.3"),
            ("histogram_quantile(0.5, h)", "pod=a 0.1; pod=b NaN"),
            // No +Inf; no other bucket; no bucket at all.
            ("histogram_quantile(0.5, open)", "NaN"),
            ("histogram_quantile(0.5, lone)", "NaN"),
            ("histogram_quantile(0.5, nothing)", ""),
            // Below zero nothing is known of the lowest bucket but its bound.
            ("histogram_quantile(0.25, negative)", "-1"),
            // Rank 9 of 10 in (0, 1]; the 8 count as 10, so that rank 15 is beyond 2.
            ("histogram_quantile(0.45, twisted)", "0.9"),
            ("histogram_quantile(0.75, twisted)", "2"),
            // What is no number is no bound: rank 2 of 2 in (0, 1].
            ("histogram_quantile(0.5, text)", "1"),
        ],
    );
}

const SIMPLE: &str = r#"
    up{app="x",pod="1"} 1
    up{app="x",pod="2"} 3
    up{app="y",pod="3"} 5
    down{app="x",pod="1"} 10
    down{app="y",pod="3"} 0
    none NaN
"#;

#[test]
fn selectors_and_aggregations() {
    let samples = Written::new(15, SIMPLE);
    check(
        &samples,
        0,
        &[
            (r#"up{pod="2"}"#, "__name__=up,app=x,pod=2 3"),
            (r#"up{app!="x"}"#, "__name__=up,app=y,pod=3 5"),
            // Anchored: `1` does not match `13`, and `.` matches one character.
            (r#"sum(up{pod=~"1|3"})"#, "6"),
            (r#"sum(up{app=~"."})"#, "9"),
            (r#"sum(up{app=~""})"#, ""),
            (r#"sum(up{pod!~"1|2"})"#, "5"),
            // A label that is not there is empty.
            (r#"sum(up{zone=""})"#, "9"),
            (r#"sum(up{zone!="a"})"#, "9"),
            (r#"sum(up{zone!=""})"#, ""),
            ("sum(up) by (app)", "app=x 4; app=y 5"),
            ("sum by (app, zone) (up)", "app=x 4; app=y 5"),
            ("sum without (pod) (up)", "app=x 4; app=y 5"),
            ("avg(up)", "3"),
            ("min(up)", "1"),
            ("max(up)", "5"),
            ("count(up)", "3"),
            ("max(none)", "NaN"),
            (r#"max({__name__=~"none|up"})"#, "5"),
            ("sum(nothing)", ""),
            ("count(nothing)", ""),
            ("-up{pod=\"3\"}", "app=y,pod=3 -5"),
            ("abs(-5 * vector(1))", "5"),
            ("clamp_max(up{pod=\"3\"}, 2)", "app=y,pod=3 2"),
            ("absent(nothing{a=\"b\"})", "a=b 1"),
            ("absent(up)", ""),
            ("scalar(up)", "NaN"),
            ("scalar(sum(up))", "9"),
            ("time()", "0"),
            ("\"text\"", "text"),
            (r#"rate({__name__=~"up|down"}[1m])"#, ""),
            (
                r#"sum_over_time({__name__=~"up|down",pod="1"}[1m])"#,
                "vector cannot contain metrics with the same labelset",
            ),
        ],
    );
}

#[test]
fn operators() {
    let samples = Written::new(15, SIMPLE);
    check(
        &samples,
        0,
        &[
            ("1 + 2 * 3 ^ 2", "19"),
            ("2 ^ 3 ^ 2", "512"),
            ("-2 ^ 2", "-4"),
            ("(1 + 2) * 3", "9"),
            ("7 % 4 - 1", "2"),
            ("1 / 0", "inf"),
            ("-1 / 0", "-inf"),
            ("0 / 0", "NaN"),
            ("1 > bool 2", "0"),
            ("5m / 1s", "300"),
            // Series with equal labels belong together; without a partner a series is dropped, and so is the name.
            ("up / down", "app=x,pod=1 0.1; app=y,pod=3 inf"),
            ("down / up", "app=x,pod=1 10; app=y,pod=3 0"),
            ("down{pod=\"3\"} / down{pod=\"3\"}", "app=y,pod=3 NaN"),
            ("up * 0 == 0", "app=x,pod=1 0; app=x,pod=2 0; app=y,pod=3 0"),
            ("up > 2", "__name__=up,app=x,pod=2 3; __name__=up,app=y,pod=3 5"),
            ("up > bool 2", "app=x,pod=1 0; app=x,pod=2 1; app=y,pod=3 1"),
            ("2 < up", "__name__=up,app=x,pod=2 3; __name__=up,app=y,pod=3 5"),
            ("up > down", "__name__=up,app=y,pod=3 5"),
            ("up - on (pod) down", "pod=1 -9; pod=3 5"),
            ("up{pod=\"1\"} + ignoring (pod) down{app=\"x\"}", "app=x 11"),
            (
                "up * on (app) down",
                "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)",
            ),
            (
                "down * on (app) up",
                "found duplicate series for the match group on the right hand-side of the operation;many-to-many \
                 matching not allowed: matching labels must be unique on one side",
            ),
            ("up and down", "__name__=up,app=x,pod=1 1; __name__=up,app=y,pod=3 5"),
            ("up unless down", "__name__=up,app=x,pod=2 3"),
            ("down or up", "__name__=down,app=x,pod=1 10; __name__=down,app=y,pod=3 0; __name__=up,app=x,pod=2 3"),
            ("nothing or vector(0)", "0"),
            ("sum(nothing) or sum(up) * 0", "0"),
            ("sum(up) or vector(0)", "9"),
            ("up + nothing", ""),
            ("nothing + 1", ""),
            // `or` binds loosest, then `and`, then comparisons.
            ("vector(1) or vector(2) and nothing", "1"),
            ("vector(1) + 1 == 2 and vector(3)", "2"),
        ],
    );
}

/// The form of the built-in success rate: each case says why Serin asks in just this way.
#[test]
fn success_rates() {
    let query = r#"(sum(rate(r{code!~"5.*"}[1m])) or sum(rate(r[1m])) * 0) / sum(rate(r[1m])) * 100"#;
    let cases = [
        ("nothing is known", "other 1 1 1 1 1", ""),
        ("no request in the window", r#"r{code="200"} 7 7 7 7 7"#, "NaN"),
        ("all succeeded", r#"r{code="200"} 0 15 30 45 60"#, "100"),
        ("all failed", r#"r{code="503"} 0 15 30 45 60"#, "0"),
        // 9 and 1 in 15 s, both from zero.
        (
            "one of ten failed",
            "r{code=\"200\"} 0 9 18 27 36
             r{code=\"500\"} 0 1 2 3 4",
            "90",
        ),
        // What did not go on has no increase: 0 of 1.
        (
            "only failures of late",
            "r{code=\"200\"} 50 50 50 50 50
             r{code=\"500\"} 0 15 30 45 60",
            "0",
        ),
    ];
    for (case, samples, expected) in cases {
        assert_eq!(answer(&Written::new(15, samples), query, 60), expected, "{case}");
    }
}

#[test]
fn ranges_over_time() {
    let samples = Written::new(15, "g 1 5 3 NaN 2");
    check(
        &samples,
        60,
        &[
            ("max_over_time(g[1m])", "5"),
            ("min_over_time(g[1m])", "2"),
            ("count_over_time(g[1m])", "4"),
            ("sum_over_time(g[35s] offset 20s)", "8"),
            ("avg_over_time(g[35s] offset 20s)", "4"),
            ("last_over_time(g[1m])", "__name__=g 2"),
            ("g[30]", "__name__=g NaN@45 2@60"),
            ("sum_over_time(nothing[1m])", ""),
        ],
    );
}

#[test]
fn bad_queries_say_where_and_why() {
    let cases = [
        ("", "1:1: parse error: no expression found in input"),
        ("sum(", "1:5: parse error: unexpected end of input"),
        ("up{", "1:4: parse error: unexpected end of input"),
        ("up}", "1:3: parse error: unexpected \"}\""),
        ("up{a}", "1:5: parse error: unexpected \"}\""),
        ("up{a=1}", "1:6: parse error: unexpected number \"1\""),
        ("1 +\n* 2", "2:1: parse error: unexpected \"*\""),
        ("rate(up)", "1:9: parse error: expected type range vector in call to function \"rate\", got instant vector"),
        ("sum(up[1m])", "1:12: parse error: expected type instant vector in aggregation expression, got range vector"),
        ("rate(up[1m], 2)", "1:16: parse error: expected 1 argument(s) in call to \"rate\", got 2"),
        ("foo(up)", "1:4: parse error: unknown function with name \"foo\""),
        ("topk(3, up)", "1:5: parse error: unknown function with name \"topk\""),
        ("{a=\"\"}", "1:7: parse error: vector selector must contain at least one non-empty matcher"),
        ("{a=~\".*\"}", "1:10: parse error: vector selector must contain at least one non-empty matcher"),
        ("up{a=~\"(\"}", "1:7: parse error: error parsing regexp: \"(\" is not a regular expression"),
        ("up{__name__=\"x\"}", "1:17: parse error: metric name must not be set twice"),
        ("1 > 2", "1:6: parse error: comparisons between scalars must use BOOL modifier"),
        ("1 or up", "1:8: parse error: set operator Or not allowed in binary scalar expression"),
        ("up + bool up", "1:13: parse error: bool modifier can only be used on comparison operators"),
        ("up[1m] + 1", "1:11: parse error: binary expression must contain only scalar and instant vector types"),
        ("sum(up)[1m]", "1:12: parse error: ranges only allowed for vector selectors"),
        ("up[0s]", "1:7: parse error: duration must be greater than 0"),
        ("up[1m", "1:6: parse error: unexpected end of input"),
        ("up[5m:1m]", "1:6: parse error: subqueries are not part of this model"),
        ("up @ 5", "1:4: parse error: unexpected \"@\""),
        ("up * on (a) group_left up", "1:13: parse error: group_left and group_right are not part of this model"),
        ("up{a=\"b}", "1:6: parse error: unterminated quoted string"),
        ("up[5parsecs]", "1:4: parse error: bad number or duration syntax: \"5parsecs\""),
        ("up ~ 5", "1:4: parse error: unexpected character: '~'"),
    ];
    let nothing = Written::new(15, "");
    for (query, expected) in cases {
        assert_eq!(answer(&nothing, query, 0), expected, "{query}");
    }
    let deep = "(".repeat(1000);
    assert_eq!(answer(&nothing, &deep, 0), "1:65: parse error: the expression is nested too deeply");
}

#[test]
fn texts_and_numbers_are_read_as_go_reads_them() {
    let samples = Written::new(15, r#"x{a="b.c"} 1"#);
    check(
        &samples,
        0,
        &[
            // `\\.` in a string is `\.` in the expression: a dot and nothing else.
            (r#"x{a=~"b\\.c"}"#, "__name__=x,a=b.c 1"),
            (r#"x{a=~"b\\..c"}"#, ""),
            ("x{a=~`b\\.c`}", "__name__=x,a=b.c 1"),
            ("x{a='b.c'}", "__name__=x,a=b.c 1"),
            ("x{a=\"b.c\",} # why not", "__name__=x,a=b.c 1"),
            ("SUM(x)", "1"),
            ("1e3 + .5 + 0x10 + 1.", "1017.5"),
            ("Inf", "inf"),
            ("1h30m", "5400"),
            ("2e-1", "0.2"),
        ],
    );
}
