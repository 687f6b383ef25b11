//! What an expression of PromQL asks for.

/// A metric with what is demanded of its labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector {
    pub name: String,
    pub matchers: Vec<Matcher>,
}

/// What is demanded of a label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matcher {
    pub label: String,
    pub operator: String,
    pub value: String,
}

impl Selector {
    /// Selectors that each name one value where this one names several: each value must be one that
    /// there is.
    pub fn one_by_one(&self) -> Vec<Self> {
        let mut all = Vec::new();
        for (at, matcher) in self.matchers.iter().enumerate() {
            let plain =
                matcher.value.chars().all(|c| c.is_ascii_alphanumeric() || "_|".contains(c));
            if matcher.operator != "=~" || !plain {
                continue;
            }
            for value in matcher.value.split('|') {
                let mut one = self.clone();
                one.matchers[at] =
                    Matcher { operator: "=".into(), value: value.into(), ..matcher.clone() };
                all.push(one);
            }
        }
        if all.is_empty() { vec![self.clone()] } else { all }
    }
}

impl std::fmt::Display for Selector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let matchers: Vec<_> = self
            .matchers
            .iter()
            .map(|Matcher { label, operator, value }| format!("{label}{operator}\"{value}\""))
            .collect();
        write!(f, "{}{{{}}}", self.name, matchers.join(", "))
    }
}

fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == ':'
}

/// Whether a word is a metric, and no function, label or keyword.
fn is_metric(word: &str) -> bool {
    word == "up" || ["safelight_", "process_", "app:"].iter().any(|start| word.starts_with(start))
}

/// The selectors of an expression, in order.
pub fn selectors(expression: &str) -> Vec<Selector> {
    let mut found = Vec::new();
    let mut rest = expression;
    while let Some(first) = rest.chars().next() {
        if first == '"' {
            // The legend of a label_replace, or the like: no metric is in a text.
            let end = rest[1..].find('"').expect("the text ends") + 2;
            rest = &rest[end..];
            continue;
        }
        if !is_of_name(first) {
            rest = &rest[first.len_utf8()..];
            continue;
        }
        let end = rest.find(|c| !is_of_name(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        rest = after;
        if is_metric(word) {
            let (matchers, after) = matchers(rest);
            rest = after;
            found.push(Selector { name: word.to_owned(), matchers });
        }
    }
    found
}

/// The matchers in braces, and what stands behind them.
fn matchers(text: &str) -> (Vec<Matcher>, &str) {
    let Some(inside) = text.strip_prefix('{') else { return (Vec::new(), text) };
    let mut matchers = Vec::new();
    let mut rest = inside;
    loop {
        rest = rest.trim_start_matches([',', ' ']);
        if let Some(after) = rest.strip_prefix('}') {
            return (matchers, after);
        }
        let (demand, after) = rest.split_once('"').expect("a label has a value");
        let (value, after) = after.split_once('"').expect("the value ends");
        let end = demand.find(['=', '!']).expect("a label has an operator");
        matchers.push(Matcher {
            label: demand[..end].trim().to_owned(),
            operator: demand[end..].trim().to_owned(),
            value: value.to_owned(),
        });
        rest = after;
    }
}

#[test]
fn selectors_are_found_where_they_are() {
    let expression = r#"sum by (app) (rate(safelight_reads_total{app=~"$app", code=~"5.."}[5m])) / on (app)
        group_left process_open_fds and up{job!="safelight_x"} > 3 * app:safelight_a:b1h{outcome=~"a|b"}"#;
    let found: Vec<_> = selectors(expression).iter().map(Selector::to_string).collect();
    assert_eq!(
        found,
        [
            r#"safelight_reads_total{app=~"$app", code=~"5.."}"#,
            "process_open_fds{}",
            r#"up{job!="safelight_x"}"#,
            r#"app:safelight_a:b1h{outcome=~"a|b"}"#,
        ]
    );
    let last = selectors(expression).pop().unwrap().one_by_one();
    let last: Vec<_> = last.iter().map(Selector::to_string).collect();
    assert_eq!(
        last,
        [r#"app:safelight_a:b1h{outcome="a"}"#, r#"app:safelight_a:b1h{outcome="b"}"#]
    );
}
