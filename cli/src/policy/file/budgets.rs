//! How much at once, and how long a person has: `[budgets]` and `[approvals]`.

use quell_engine::policy::{Approvals, Limits, Policy};

use super::{Reader, Value};

impl Reader<'_> {
    pub(super) fn budgets(&mut self, value: &Value<'_>, policy: &mut Policy) {
        let Some(table) = self.table(value, "budgets") else { return };
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "critical" => self.limits(value, "critical", &mut policy.budgets.critical),
                "routine" => self.limits(value, "routine", &mut policy.budgets.routine),
                _ => self.unknown_key(key, &["critical", "routine"], " of the budgets"),
            }
        }
    }

    fn limits(&mut self, value: &Value<'_>, name: &str, limits: &mut Limits) {
        const KEYS: &[&str] = &["account", "actor", "control", "overall", "window_minutes"];
        let Some(table) = self.table(value, name) else { return };
        for (key, value) in table {
            let (limit, most) = match key.get_ref().as_ref() {
                "window_minutes" => (&mut limits.window_minutes, 1_440),
                "control" => (&mut limits.control, 10_000),
                "account" => (&mut limits.account, 10_000),
                "actor" => (&mut limits.actor, 10_000),
                "overall" => (&mut limits.overall, 10_000),
                _ => {
                    self.unknown_key(key, KEYS, " of a budget");
                    continue;
                }
            };
            *limit = self.number(value, key.get_ref(), most).unwrap_or(*limit);
        }
    }

    pub(super) fn approvals(&mut self, value: &Value<'_>, approvals: &mut Approvals) {
        let Some(table) = self.table(value, "approvals") else { return };
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "expire_hours" => {
                    let hours = self.number(value, "expire_hours", 168);
                    approvals.expire_hours = hours.unwrap_or(approvals.expire_hours);
                }
                _ => self.unknown_key(key, &["expire_hours"], " of the approvals"),
            }
        }
    }
}
