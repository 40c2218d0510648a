//! The metrics that the sources declare: every call in a `metrics.rs` that is given a name and a help text.
//!
//! Programs declare with the functions of the chassis, with constructors of the metrics crate or with closures over
//! either; what they have in common is a name and a help text side by side, under a callee that says the kind.

use syn::{
    Expr, ExprCall, ExprMethodCall, Lit,
    visit::{self, Visit},
};

use crate::repository::Repository;

/// One declared metric.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Metric {
    /// The program: the first word of its folder (`control` for `control-plane/`), `process` for the chassis.
    pub(crate) program: String,
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) help: String,
    pub(crate) labels: Vec<String>,
    pub(crate) file: String,
}

/// What a metric does over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }

    /// The kind that a callee's name speaks of.
    fn of_callee(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        let kinds =
            [("counter", Self::Counter), ("gauge", Self::Gauge), ("histogram", Self::Histogram)];
        kinds.into_iter().find(|(word, _)| name.contains(word)).map(|(_, kind)| kind)
    }

    /// The kind that a metric's name speaks of, where no callee does.
    fn of_metric(name: &str) -> Self {
        match name {
            name if name.ends_with("_total") => Self::Counter,
            name if name.ends_with("_seconds") => Self::Histogram,
            _ => Self::Gauge,
        }
    }
}

/// Every declared metric, sorted by program and name.
pub(crate) fn declared(repository: &Repository) -> Vec<Metric> {
    let mut metrics = Vec::new();
    for (path, text) in repository.ending("metrics.rs") {
        let Some((folder, _)) = path.split_once("/src/") else { continue };
        let Ok(file) = syn::parse_file(text) else { continue };
        let program = if folder == "chassis" { "process" } else { folder };
        let program = program.split(['-', '/']).next().unwrap_or_default().to_owned();
        let mut found =
            Found { program, file: path.to_owned(), callees: Vec::new(), metrics: Vec::new() };
        found.visit_file(&file);
        metrics.append(&mut found.metrics);
    }
    metrics.sort();
    metrics
}

struct Found {
    program: String,
    file: String,
    /// The callees around where we are, innermost last, with the labels that each is given.
    callees: Vec<(String, Vec<String>)>,
    metrics: Vec<Metric>,
}

impl Found {
    fn enter<'a>(&mut self, callee: String, arguments: impl Iterator<Item = &'a Expr>) {
        let arguments: Vec<&Expr> = arguments.collect();
        let labels =
            arguments.iter().find_map(|argument| list_of_texts(argument)).unwrap_or_default();
        self.callees.push((callee, labels));
        for pair in arguments.windows(2) {
            let (Some(name), Some(help)) = (text_of(pair[0]), text_of(pair[1])) else { continue };
            if !is_metric_name(&name) || !help.contains(' ') {
                continue;
            }
            let kind = self.callees.iter().rev().find_map(|(callee, _)| Kind::of_callee(callee));
            let labels = self.callees.iter().rev().map(|(_, labels)| labels);
            let labels = labels.into_iter().find(|labels| !labels.is_empty()).cloned();
            self.metrics.push(Metric {
                program: self.program.clone(),
                kind: kind.unwrap_or_else(|| Kind::of_metric(&name)),
                name,
                help,
                labels: labels.unwrap_or_default(),
                file: self.file.clone(),
            });
        }
    }
}

impl<'ast> Visit<'ast> for Found {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if module.ident != "tests" {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_expr_call(&mut self, call: &'ast ExprCall) {
        let callee = match &*call.func {
            Expr::Path(path) => {
                let parts = path.path.segments.iter().map(|part| part.ident.to_string());
                parts.collect::<Vec<_>>().join("::")
            }
            _ => String::new(),
        };
        self.enter(callee, call.args.iter());
        visit::visit_expr_call(self, call);
        self.callees.pop();
    }

    fn visit_expr_method_call(&mut self, call: &'ast ExprMethodCall) {
        self.enter(call.method.to_string(), call.args.iter());
        visit::visit_expr_method_call(self, call);
        self.callees.pop();
    }
}

fn text_of(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Lit(literal) => match &literal.lit {
            Lit::Str(text) => Some(text.value()),
            _ => None,
        },
        Expr::Reference(reference) => text_of(&reference.expr),
        _ => None,
    }
}

/// `&["a", "b"]`.
fn list_of_texts(expr: &Expr) -> Option<Vec<String>> {
    match expr {
        Expr::Array(array) => array.elems.iter().map(text_of).collect(),
        Expr::Reference(reference) => list_of_texts(&reference.expr),
        _ => None,
    }
}

fn is_metric_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    text.contains('_') && text.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_declare_is_found() {
        let text = r#"//! M.
            fn register(r: &Registry) {
                let a = counter(r, "edge_a_total", "Help of a.");
                let b = histogram_vec(r, "edge_b_seconds", "Help of b.", &["how"], BUCKETS);
                let c = IntGaugeVec::new(Opts::new("edge_c", "Help of c."), &["x", "y"])?;
                let d = HistogramVec::new(HistogramOpts::new("edge_d", "Help \
                    of d.").buckets(BUCKETS.to_vec()), &["role"])?;
                let e = seconds("edge_e_seconds", "Help of e.")?;
                let f = declare.counters("edge_f_total", "Help of f.", &["z"]);
                let none = other("edge_word", "word");
            }
            mod tests { fn f() { counter(r, "edge_t_total", "In a test."); } }
        "#;
        let metrics = declared(&Repository::of(&[("edge/src/metrics.rs", text)]));
        let said: Vec<String> = metrics
            .iter()
            .map(|m| format!("{} {} [{}] {}", m.name, m.kind.as_str(), m.labels.join(","), m.help))
            .collect();
        assert_eq!(
            said,
            [
                "edge_a_total counter [] Help of a.",
                "edge_b_seconds histogram [how] Help of b.",
                "edge_c gauge [x,y] Help of c.",
                "edge_d histogram [role] Help of d.",
                "edge_e_seconds histogram [] Help of e.",
                "edge_f_total counter [z] Help of f.",
            ]
        );
    }

    #[test]
    fn a_metric_belongs_to_the_program_of_its_folder() {
        let text = "//! M.\nfn f() { gauge(r, \"x_y\", \"Help of it.\"); }";
        for (file, program) in [
            ("edge/src/listener/metrics.rs", "edge"),
            ("control-plane/src/metrics.rs", "control"),
            ("packager/worker/src/metrics.rs", "packager"),
            ("chassis/src/metrics.rs", "process"),
        ] {
            let metrics = declared(&Repository::of(&[(file, text)]));
            assert_eq!(metrics[0].program, program);
        }
    }
}
