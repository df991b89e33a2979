use std::collections::BTreeMap;

use super::*;
use crate::metrics::Profile;

fn subject() -> Subject {
    Subject {
        name: "frontend".into(),
        namespace: "shop".into(),
        target: "web".into(),
        service: "web-svc".into(),
        ingress: "web-ingress".into(),
        route: "web-route".into(),
        port: 80,
        profile: Profile::Application,
    }
}

/// The rendered text, or the error.
fn render(text: &str) -> String {
    let variables = BTreeMap::from([("direction".into(), "inbound".into()), ("empty".into(), String::new())]);
    let context = Context { subject: &subject(), interval: "2m", variables: &variables };
    match parse(text).and_then(|template| template.render(&context)) {
        Ok(text) => text,
        Err(error) => error.to_string(),
    }
}

fn check(cases: &[(&str, &str)]) {
    for (template, expected) in cases {
        assert_eq!(render(template), *expected, "{template}");
    }
}

#[test]
fn flaggers_functions_stand_for_the_canary() {
    check(&[
        ("", ""),
        ("up", "up"),
        ("{{ name }} {{ namespace }} {{ target }}", "frontend shop web"),
        ("{{ service }} {{ ingress }} {{ route }} {{ interval }}", "web-svc web-ingress web-route 2m"),
        ("{{target}}-primary", "web-primary"),
        (
            r#"sum(rate(x{ns="{{ namespace }}",pod=~"{{ target }}-[0-9a-zA-Z]+"}[{{interval}}]))"#,
            r#"sum(rate(x{ns="shop",pod=~"web-[0-9a-zA-Z]+"}[2m]))"#,
        ),
        ("{{ variables.direction }}|{{ (variables).direction }}", "inbound|inbound"),
        (r#"{{ index variables "direction" }}|{{ index variables "missing" }}|"#, "inbound||"),
        ("{{ variables.empty }}.", "."),
        ("unicode ✓ {{ target }} ✓", "unicode ✓ web ✓"),
        ("{ {x} } }} {", "{ {x} } }} {"),
    ]);
}

#[test]
fn literals_pipelines_and_functions_work_as_in_go() {
    check(&[
        (r#"{{ "a\"b\\c\n\t\x41\u00e9" }}"#, "a\"b\\c\n\tAé"),
        (r#"{{ `raw \n "x"` }}"#, r#"raw \n "x""#),
        (
            "{{ 7 }} {{ -3 }} {{ 1.50 }} {{ 1e3 }} {{ 1e21 }} {{ 2.5e-7 }} {{ true }}",
            "7 -3 1.5 1000 1e+21 2.5e-07 true",
        ),
        (r#"{{ printf "%s-%s" target "x" }}"#, "web-x"),
        (r#"{{ target | printf "%s-%s" "x" }}"#, "x-web"),
        (r#"{{ printf "%d|%5d|%-5d|%05d|%v" 7 7 7 -7 7 }}"#, "7|    7|7    |-0007|7"),
        (r#"{{ printf "%f|%.2f|%v|%v" 1.5 1.239 1.5 2.0 }}"#, "1.500000|1.24|1.5|2"),
        (r#"{{ printf "%q %v %t %%" "a\"b" "c" false }}"#, r#""a\"b" c false %"#),
        (r#"{{ printf "%.2s|%4s|%-4s|" "abc" "x" "y" }}"#, "ab|   x|y   |"),
        (r#"{{ printf "%v" variables }}"#, "map[direction:inbound empty:]"),
        (r#"{{ print "a" 1 2 "b" 3 }}|{{ println "a" 1 }}|"#, "a1 2b3|a 1\n|"),
        (r#"{{ len "héllo" }} {{ len variables }}"#, "6 2"),
        (r#"{{ printf "%s" (printf "%s/%s" namespace (print target)) }}"#, "shop/web"),
        ("{{ $a := target }}{{ $b := print $a `!` }}{{ $a = `x` }}{{ $a }}{{ $b }}", "xweb!"),
        ("{{ $v := variables }}{{ $v.direction }}", "inbound"),
        (
            // The query that Flagger has for Skipper.
            r#"{{- $route := printf "kube(ew)?_%s__%s_canary__.*__%s_canary(_[0-9]+)?" namespace ingress service }}
            sum(rate(x{route=~"{{ $route }}"}[{{ interval }}]))"#,
            "\n            sum(rate(x{route=~\"kube(ew)?_shop__web-ingress_canary__.*__web-svc_canary(_[0-9]+)?\"}[2m]))",
        ),
    ]);
}

#[test]
fn conditions_choose_a_branch() {
    check(&[
        (r#"{{ if eq namespace "shop" }}yes{{ else }}no{{ end }}"#, "yes"),
        (r#"{{ if ne namespace "shop" }}yes{{ else }}no{{ end }}"#, "no"),
        (r#"{{ if eq target "a" "b" "web" }}yes{{ end }}"#, "yes"),
        (r#"{{ if eq target "a" }}a{{ else if eq target "web" }}w{{ else }}x{{ end }}"#, "w"),
        (r#"{{ if index variables "missing" }}yes{{ end }}."#, "."),
        ("{{ if variables.empty }}yes{{ else }}no{{ end }}", "no"),
        ("{{ if and (eq 1 1) (not false) }}yes{{ end }}", "yes"),
        ("{{ if or (eq 1 2) variables.direction }}yes{{ end }}", "yes"),
        ("{{ or `` `b` }} {{ and `a` `b` }} {{ and `` `b` }}.", "b b ."),
        ("{{ or true variables.missing }}", "true"),
        ("{{ lt 1 2 }} {{ le 2 2 }} {{ gt 1 2 }} {{ ge 1.5 1.5 }}", "true true false true"),
        ("{{ if $x := target }}{{ $x }}{{ end }}", "web"),
        ("{{ $x := `a` }}{{ if true }}{{ $x := `b` }}{{ $x }}{{ end }}{{ $x }}", "ba"),
        ("{{ $x := `a` }}{{ if true }}{{ $x = `b` }}{{ end }}{{ $x }}", "b"),
        ("{{ if true }}{{ if false }}1{{ else }}2{{ end }}{{ end }}", "2"),
    ]);
}

#[test]
fn trim_markers_and_comments_leave_no_trace() {
    check(&[
        ("a \n {{- target -}} \n b", "awebb"),
        ("a {{ target -}} b", "a webb"),
        ("a {{- /* note {{ */ -}} b", "ab"),
        ("a {{/* note */}} b", "a  b"),
        ("{{-3}} x", "-3 x"),
        ("a {{\n  target\n}}", "a web"),
    ]);
}

#[test]
fn every_mistake_names_its_place_and_its_mend() {
    check(&[
        ("up\n  {{ targt }}", "line 2, column 6: unknown function `targt`; did you mean `target`?"),
        (
            "{{ .namespace }}",
            "line 1, column 4: there is no data behind `.namespace`; write `namespace` without the dot",
        ),
        ("{{ . }}", "line 1, column 4: there is no data behind `.`; write `variables.NAME` for a template variable"),
        (
            "{{ variables.directon }}",
            "line 1, column 4: `variables.directon` is not set (did you mean `direction`?); add `directon` to \
             templateVariables of the metric",
        ),
        ("{{ target.x }}", "line 1, column 4: `.x` is asked of a string; only `variables` has fields"),
        ("{{ $x }}", "line 1, column 4: unknown variable `$x`; declare it before with `{{ $x := ... }}`"),
        ("{{ $xy := 1 }}{{ $xz }}", "line 1, column 18: unknown variable `$xz`; did you mean `$xy`?"),
        (
            "{{ if true }}{{ $x := 1 }}{{ end }}{{ $x }}",
            "line 1, column 39: unknown variable `$x`; declare it before with `{{ $x := ... }}`",
        ),
        ("{{ target", "line 1, column 1: the action is not closed; end it with `}}`"),
        ("{{ \"x }}", "line 1, column 4: the string is not closed; end it with a double quote"),
        ("{{ `x }}", "line 1, column 4: the raw string is not closed; end it with a back quote"),
        ("{{/* x }}", "line 1, column 1: the comment is not closed; end it with `*/}}`"),
        ("{{ /* x */ target }}", "line 1, column 4: unexpected character '/' in an action"),
        ("{{ if true }}x", "line 1, column 4: the `if` is not closed; add `{{ end }}`"),
        ("{{ end }}", "line 1, column 4: `end` without an `if` before it"),
        ("{{ else }}", "line 1, column 4: `else` without an `if` before it"),
        (
            "{{ if true }}{{ else }}{{ else }}{{ end }}",
            "line 1, column 27: a second `else`; only `else if` can be repeated",
        ),
        ("{{ range x }}{{ end }}", "line 1, column 4: `range` of Go's templates is not supported in metric templates"),
        ("{{ }}", "line 1, column 4: a value is expected here, such as `target` or a quoted string"),
        ("{{ (target }}", "line 1, column 4: the parenthesis is not closed; add `)`"),
        ("{{ target) }}", "line 1, column 10: `}}` is expected here"),
        ("{{ target `x` }}", "line 1, column 4: `target` takes no arguments, not 1"),
        ("{{ `x` | target }}", "line 1, column 10: `target` takes no arguments, not 1"),
        ("{{ index variables }}", "line 1, column 4: `index` takes 2 argument(s), not 1"),
        ("{{ print len }}", "line 1, column 10: `len` takes 1 argument(s), not 0"),
        ("{{ `x` `y` }}", "line 1, column 4: only a function can be given arguments, and this is a value"),
        ("{{ eq 1 `x` }}", "line 1, column 4: a whole number can't be compared with a string; give both the same type"),
        ("{{ len 5 }}", "line 1, column 4: `len` can't be used on a whole number"),
        ("{{ 12x }}", "line 1, column 4: `12x` is not a decimal number"),
        ("{{ 1e999 }}", "line 1, column 4: `1e999` is not a decimal number"),
        (
            r#"{{ "\d" }}"#,
            "line 1, column 5: unknown escape in a string; write a literal backslash as `\\\\`, or use a raw `back-quoted` string",
        ),
        (r#"{{ printf "%d" `x` }}"#, "line 1, column 4: `%d` of `printf` can't show a string; `%v` can"),
        (r#"{{ printf "%s" }}"#, "line 1, column 4: `printf` has no argument left for `%s`"),
        (r#"{{ printf "x" 1 }}"#, "line 1, column 4: `printf` has 1 argument(s) more than its format uses"),
        (
            r#"{{ printf "%x" 1 }}"#,
            "line 1, column 4: `printf` does not support `%x`; use %s, %d, %v, %q, %f, %t or %%",
        ),
        (r#"{{ printf "100%" }}"#, "line 1, column 4: the format of `printf` ends in a lone `%`; write `%%`"),
        (r#"{{ printf "%999999d" 1 }}"#, "line 1, column 4: widths and precisions of `printf` are limited to 64"),
    ]);
}

#[test]
fn hostile_templates_end_in_an_error() {
    let doubling = r#"{{ $a := "xxxxxxxxxxxxxxxx" }}"#.to_owned() + &"{{ $a = print $a $a }}".repeat(100);
    let long_print = format!("{{{{ $a := `{}` }}}}{{{{ print {} }}}}", "x".repeat(30_000), "$a ".repeat(10_000));
    let else_ifs = format!("{{{{ if false }}}}{}{{{{ end }}}}done", "{{ else if false }}".repeat(3_000));
    let cases = [
        (format!("{{{{ {} }}}}", "(".repeat(10_000)), "nested more than 32 levels deep"),
        ("{{ if true }}".repeat(4_000), "nested more than 32 levels deep"),
        ("x".repeat(TEMPLATE_BYTES_MAX + 1), "the template has 65537 bytes; at most 65536 are allowed"),
        (doubling, "the template produces more than 1048576 bytes"),
        (long_print, "the template produces more than 1048576 bytes"),
        (else_ifs, "done"),
        ("{{ target }}".repeat(5_000), "webweb"),
        ("{{ `".repeat(10_000), "unexpected character"),
    ];
    for (template, expected) in cases {
        let got = render(&template);
        assert!(got.contains(expected), "{}... gave {}", &template[..40], &got[..got.len().min(200)]);
    }
}

#[test]
fn an_error_does_not_repeat_a_long_name_as_a_whole() {
    for template in [format!("{{{{ {} }}}}", "a".repeat(60_000)), format!("{{{{ variables.{} }}}}", "é".repeat(30_000))]
    {
        let got = render(&template);
        assert!((100..=500).contains(&got.chars().count()), "{}", &got[..200]);
    }
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic(text in r#"(\{\{|\}\}|-| |\(|\)|\||"|`|%|\.|\$|:=|=|if|else|end|target|variables|printf|eq|a|1|é|\n|/\*|\*/|\\){0,40}"#) {
        let _ = render(&text);
    }
}
