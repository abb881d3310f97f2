//! What is otherwise for some resources: `[[scopes]]`.

use std::collections::BTreeMap;

use quell_engine::{
    Meta, Mode,
    policy::{Policy, Scope},
};
use toml::de::{DeTable, DeValue};

use super::{Reader, Value, brief, is_region};

/// Each is compared with all before it, and each decision goes through all of them.
const MOST_SCOPES: usize = 200;

impl Reader<'_> {
    /// Each with where its mode stands.
    pub(super) fn scopes(&mut self, value: &Value<'_>) -> Vec<(usize, Scope)> {
        self.tables(value, "scopes", MOST_SCOPES)
            .into_iter()
            .filter_map(|(at, table)| self.scope(at, table))
            .collect()
    }

    fn scope(&mut self, at: usize, table: &DeTable<'_>) -> Option<(usize, Scope)> {
        const KEYS: &[&str] = &["accounts", "controls", "mode", "regions", "resources", "tags"];
        let mut scope = Scope {
            controls: Vec::new(),
            accounts: Vec::new(),
            regions: Vec::new(),
            resources: Vec::new(),
            tags: BTreeMap::new(),
            mode: Mode::Observe,
        };
        let mut mode = None;
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "controls" => {
                    scope.controls = self.texts(value, "controls", |reader, id, at| {
                        reader.control(id, at);
                    });
                }
                "accounts" => {
                    scope.accounts = self.texts(value, "accounts", Self::account);
                }
                "regions" => {
                    scope.regions = self.texts(value, "regions", |reader, region, at| {
                        if !is_region(region) {
                            let region = brief(region);
                            reader.complain(
                                at,
                                format!(
                                    "`{region}` is not a region; regions look like `eu-west-1`"
                                ),
                            );
                        }
                    });
                }
                "resources" => scope.resources = self.texts(value, "resources", Self::glob),
                "tags" => scope.tags = self.tags(value),
                "mode" => {
                    mode = self.mode(value, "mode").map(|mode| (value.span().start, mode));
                }
                _ => self.unknown_key(key, KEYS, " of a scope"),
            }
        }
        if !table.keys().any(|key| key.get_ref() == "mode") {
            self.complain(at, "this scope has no `mode`");
        }
        if !table
            .keys()
            .any(|key| KEYS.contains(&key.get_ref().as_ref()) && key.get_ref() != "mode")
        {
            self.complain(
                at,
                "this scope is for everything; say in [controls] what is so everywhere",
            );
        }
        let (mode_at, mode) = mode?;
        scope.mode = mode;
        for id in &scope.controls {
            let meta = self.known.iter().copied().find(|meta| meta.id == id);
            if let Some(meta) = meta {
                self.only_reports(meta, mode, mode_at);
            }
        }
        let everything = scope.resources.iter().find(|glob| is_everything(glob));
        if let (Mode::Off, Some(glob)) = (mode, everything) {
            self.complain(
                mode_at,
                format!(
                    "`{glob}` is every resource, and this scope switches them off; leave `resources` out if that is meant"
                ),
            );
        }
        Some((mode_at, scope))
    }

    fn glob(&mut self, glob: &str, at: usize) {
        if glob.chars().count() > 512 {
            self.complain(at, "a glob has at most 512 characters");
        }
        if glob.trim() != glob || glob.chars().any(char::is_control) {
            self.complain(
                at,
                format!("`{}` has blanks around it, or characters nobody sees", brief(glob)),
            );
        }
    }

    pub(super) fn tags(&mut self, value: &Value<'_>) -> BTreeMap<String, Vec<String>> {
        let Some(table) = self.table(value, "tags") else { return BTreeMap::new() };
        if table.is_empty() {
            self.complain(value.span().start, "`tags` is empty; leave it out");
        }
        let mut tags = BTreeMap::new();
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            if name.is_empty() || name.chars().count() > 128 {
                self.complain(key.span().start, "a tag's key has 1 to 128 characters");
            }
            let check = |reader: &mut Self, value: &str, at| {
                if value.contains(['*', '?']) {
                    let value = brief(value);
                    reader.complain(
                        at,
                        format!("`{value}`: a tag's value is taken literally, `*` and `?` mean nothing here"),
                    );
                }
                if value.chars().count() > 256 {
                    reader.complain(at, "a tag's value has at most 256 characters");
                }
            };
            let values = match value.get_ref() {
                DeValue::String(one) => {
                    check(self, one, value.span().start);
                    vec![one.clone().into_owned()]
                }
                _ => self.texts(value, name, check),
            };
            tags.insert(name.to_owned(), values);
        }
        tags
    }

    /// A tag can be put on a resource by whoever opened it, so it must not be a way out.
    pub(super) fn tags_only_raise(&mut self, at: usize, scope: &Scope, before: &Policy) {
        if scope.tags.is_empty() {
            return;
        }
        if scope.mode <= Mode::Observe {
            let mode = scope.mode;
            return self.complain(
                at,
                format!(
                    "a scope with tags cannot be `{mode}`: a tag only raises the mode, because whoever can open a resource can often tag it; use `resources`, or an exemption"
                ),
            );
        }
        let lowered: Vec<_> = self
            .known
            .iter()
            .filter(|meta| scope.is_for(meta))
            .map(|meta| (meta.id, lowest(meta, scope, before)))
            .collect();
        let is_lowered = |(_, mode): &&(&str, Mode)| *mode > scope.mode;
        let worst = lowered.iter().find(is_lowered);
        if let Some((id, mode)) = worst
            && (!scope.controls.is_empty() || lowered.iter().all(|one| is_lowered(&one)))
        {
            self.complain(
                at,
                format!(
                    "`{}` with tags would lower `{id}`, which is at `{mode}` here: a tag only raises the mode",
                    scope.mode
                ),
            );
        }
    }
}

/// The lowest mode that a resource of the scope may have without it.
fn lowest(meta: &Meta, scope: &Scope, before: &Policy) -> Mode {
    let everywhere = Policy { scopes: Vec::new(), ..before.clone() };
    let untagged = before.scopes.iter().filter(|one| one.tags.is_empty() && one.is_for(meta));
    untagged.fold(everywhere.within(meta, scope), |lowest, one| {
        if one.includes(scope) { one.mode } else { lowest.min(one.mode) }
    })
}

fn is_everything(glob: &str) -> bool {
    let glob = glob.strip_prefix("arn:").unwrap_or(glob);
    glob.contains('*') && glob.chars().all(|c| "*?:".contains(c))
}

#[cfg(test)]
mod tests {
    use crate::policy::file::tests::{checked, problem};

    #[test]
    fn nothing_is_switched_off_by_a_glob_for_everything() {
        for glob in ["*", "**", "?*", "arn:*", "arn:*:*:*"] {
            let source = |mode| format!("[[scopes]]\nresources = ['{glob}']\nmode = '{mode}'");
            assert!(problem(&source("off")).starts_with("3: "), "{glob}");
            assert!(checked(&source("enforce")).is_ok(), "{glob}");
        }
        assert!(checked("[[scopes]]\nresources = ['a*']\nmode = 'off'").is_ok());
    }

    #[test]
    fn globs_have_limits() {
        let of = |glob: &str| format!("[[scopes]]\nmode = 'off'\nresources = [\"{glob}\"]");
        assert!(problem(&of(&"a".repeat(513))).contains("at most 512"));
        assert!(problem(&of(" logs")).contains("blanks"));
        assert!(problem(&of("lo\\u0007gs")).contains("nobody sees"));
    }

    #[test]
    fn a_tag_is_no_way_out() {
        for mode in ["off", "observe"] {
            let problem =
                problem(&format!("[[scopes]]\ntags = {{ env = 'dev' }}\nmode = '{mode}'"));
            assert!(
                problem.starts_with(&format!("3: a scope with tags cannot be `{mode}`")),
                "{problem}"
            );
        }
        let lowered = "
[controls]
s3-public-acl = 'enforce'
[[scopes]]
controls = ['s3-public-acl']
tags = { env = 'dev' }
mode = 'approve'
";
        assert!(problem(lowered).starts_with("7: `approve` with tags would lower `s3-public-acl`"));
        let by_scope = "
[[scopes]]
accounts = ['111122223333']
controls = ['s3-public-acl']
mode = 'enforce'
[[scopes]]
accounts = ['111122223333']
controls = ['s3-public-acl']
regions = ['eu-west-1']
tags = { env = 'dev' }
mode = 'approve'
";
        assert!(problem(by_scope).starts_with("11: "));
        // Elsewhere it raises.
        let elsewhere = by_scope
            .replace("regions", "resources")
            .replace("eu-west-1", "x")
            .replacen("accounts = ['111122223333']", "accounts = ['444455556666']", 1);
        assert!(checked(&elsewhere).is_ok(), "{:?}", checked(&elsewhere));
        let raised = "[[scopes]]\ntags = { env = 'dev' }\nmode = 'approve'";
        assert!(checked(raised).is_ok());
    }

    #[test]
    fn a_tags_value_is_literal() {
        let problem = problem("[[scopes]]\nmode = 'enforce'\ntags = { env = ['dev', 'te*'] }");
        assert_eq!(
            problem,
            "3: `te*`: a tag's value is taken literally, `*` and `?` mean nothing here"
        );
    }
}
