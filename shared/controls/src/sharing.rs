//! With whom a snapshot or an image is shared, and how that changes.

use std::collections::BTreeSet;

use aws_sdk_ec2::types::OperationType;
use quell_engine::{Description, Effect, Plan, policy::Trusted};
use serde::{Deserialize, Serialize};

/// Everyone with an AWS account.
pub(crate) const ALL: &str = "all";

/// Who may make volumes of a snapshot, or launch instances of an image.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Sharing {
    /// The group `all`.
    pub public: bool,
    /// Ids of accounts; ARNs of organisations and organisational units.
    pub grantees: BTreeSet<String>,
    /// Those of them that are known: the own account, and whom the policy trusts.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub known: BTreeSet<String>,
}

/// One call, which touches no other entry.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    Remove { grantees: BTreeSet<String> },
    Add { grantees: BTreeSet<String> },
}

/// Entries that one call of ModifySnapshotAttribute changes at most.
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ModifySnapshotAttribute.html>
const AT_ONCE: usize = 500;

impl Sharing {
    /// As AWS lists it, seen from this account.
    pub(crate) fn new(public: bool, grantees: BTreeSet<String>, account: &str) -> Self {
        let known = grantees.iter().filter(|one| *one == account).cloned().collect();
        Self { public, grantees, known }
    }

    /// The same entries, with what was known of them before.
    pub(crate) fn with_known_of(self, before: &Self) -> Self {
        let known = self.grantees.intersection(&before.known).cloned();
        Self { known: known.chain(self.known.iter().cloned()).collect(), ..self }
    }

    pub(crate) fn inform(&mut self, trusted: &Trusted) {
        let is_trusted = |grantee: &&String| match organisation(grantee) {
            Some(id) => trusted.organisations.iter().any(|one| one == id),
            None => trusted.accounts.contains(grantee),
        };
        self.known.extend(self.grantees.iter().filter(is_trusted).cloned());
    }

    pub(crate) fn without_public(&self) -> Plan<Change> {
        if self.public { Plan::one(Change::Remove { grantees: all() }) } else { Plan::nothing() }
    }

    pub(crate) fn public_as(&self, before: &Self) -> Plan<Change> {
        match (before.public, self.public) {
            (true, false) => Plan::one(Change::Add { grantees: all() }),
            (false, true) => Plan::one(Change::Remove { grantees: all() }),
            _ => Plan::nothing(),
        }
    }

    pub(crate) fn without_unknown(&self) -> Plan<Change> {
        let unknown: Vec<_> = self.grantees.difference(&self.known).collect();
        in_calls(&unknown, |grantees| Change::Remove { grantees })
    }

    pub(crate) fn shared_as(&self, before: &Self) -> Plan<Change> {
        let missing: Vec<_> = before.grantees.difference(&self.grantees).collect();
        in_calls(&missing, |grantees| Change::Add { grantees })
    }

    /// Facts about whoever is none of the control's business.
    pub(crate) fn note_of_others(&self) -> String {
        format!(
            "Accounts and organisations that it is shared with by name: {}",
            self.grantees.len()
        )
    }

    pub(crate) fn note_of_known(&self) -> String {
        format!("Known accounts and organisations, which keep it: {}", self.known.len())
    }
}

impl Change {
    pub(crate) fn grantees(&self) -> &BTreeSet<String> {
        match self {
            Self::Remove { grantees } | Self::Add { grantees } => grantees,
        }
    }

    pub(crate) fn operation(&self) -> OperationType {
        match self {
            Self::Remove { .. } => OperationType::Remove,
            Self::Add { .. } => OperationType::Add,
        }
    }

    pub(crate) fn describe(&self, action: &str) -> Description {
        let lines = self.grantees().iter().map(|grantee| line(grantee)).collect();
        let (minus, plus) = match self {
            Self::Remove { .. } => (lines, Vec::new()),
            Self::Add { .. } => (Vec::new(), lines),
        };
        Description { action: action.to_owned(), effect: Effect::Set, minus, plus }
    }
}

/// The id in the ARN of an organisation, or of one of its units.
/// <https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsorganizations.html>
fn organisation(grantee: &str) -> Option<&str> {
    let resource = grantee.strip_prefix("arn:")?.splitn(5, ':').nth(4)?;
    let (kind, rest) = resource.split_once('/')?;
    match kind {
        "organization" => Some(rest),
        "ou" => rest.split('/').next(),
        _ => None,
    }
}

fn all() -> BTreeSet<String> {
    BTreeSet::from([ALL.to_owned()])
}

fn in_calls(grantees: &[&String], change: impl Fn(BTreeSet<String>) -> Change) -> Plan<Change> {
    let calls = grantees.chunks(AT_ONCE);
    calls.map(|some| change(some.iter().map(|one| (*one).clone()).collect())).collect()
}

fn line(grantee: &str) -> String {
    match grantee {
        ALL => "shared with everyone who has an AWS account (group all)".to_owned(),
        _ if grantee.starts_with("arn:") => format!("shared with {grantee}"),
        _ => format!("shared with account {grantee}"),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    const OWN: &str = "123456789012";
    const PARTNER: &str = "210987654321";
    const STRANGER: &str = "111122223333";
    const ORGANISATION: &str = "arn:aws:organizations::210987654321:organization/o-a1b2c3d4e5";
    const UNIT: &str = "arn:aws:organizations::210987654321:ou/o-a1b2c3d4e5/ou-ab12-cdefghij";
    const OTHER: &str = "arn:aws:organizations::111122223333:ou/o-zzzzzzzzzz/ou-ab12-cdefghij";

    fn sharing<const N: usize>(public: bool, grantees: [&str; N]) -> Sharing {
        Sharing::new(public, grantees.map(str::to_owned).into(), OWN)
    }

    fn trusted() -> Trusted {
        Trusted {
            accounts: vec![PARTNER.to_owned()],
            organisations: vec!["o-a1b2c3d4e5".to_owned()],
            ..Trusted::NOBODY
        }
    }

    /// What the calls do to the entries.
    pub(crate) fn changed(before: &Sharing, plan: &Plan<Change>) -> Sharing {
        let mut after = before.clone();
        for change in &plan.changes {
            for grantee in change.grantees() {
                match (change, grantee.as_str()) {
                    (Change::Remove { .. }, ALL) => after.public = false,
                    (Change::Add { .. }, ALL) => after.public = true,
                    (Change::Remove { .. }, _) => drop(after.grantees.remove(grantee)),
                    (Change::Add { .. }, _) => drop(after.grantees.insert(grantee.clone())),
                }
            }
        }
        let seen = Sharing::new(after.public, after.grantees, OWN);
        seen.with_known_of(before)
    }

    pub(crate) fn any_sharing() -> impl Strategy<Value = Sharing> {
        let grantee = prop_oneof![
            Just(OWN.to_owned()),
            Just(PARTNER.to_owned()),
            Just(ORGANISATION.to_owned()),
            Just(UNIT.to_owned()),
            Just(OTHER.to_owned()),
            "[0-9]{12}",
        ];
        (any::<bool>(), prop::collection::btree_set(grantee, 0..12), any::<bool>()).prop_map(
            |(public, grantees, is_informed)| {
                let mut sharing = Sharing::new(public, grantees, OWN);
                if is_informed {
                    sharing.inform(&trusted());
                }
                sharing
            },
        )
    }

    #[test]
    fn the_own_account_and_whom_the_policy_trusts_are_known() {
        let mut seen = sharing(false, [OWN, PARTNER, STRANGER, ORGANISATION, UNIT, OTHER]);
        assert_eq!(seen.known, BTreeSet::from([OWN.to_owned()]));
        seen.inform(&trusted());
        let unknown: Vec<_> = seen.grantees.difference(&seen.known).collect();
        assert_eq!(unknown, [STRANGER, OTHER]);
    }

    #[test]
    fn an_organisation_is_known_by_its_id_alone() {
        for (grantee, id) in [
            (ORGANISATION, Some("o-a1b2c3d4e5")),
            (UNIT, Some("o-a1b2c3d4e5")),
            (PARTNER, None),
            ("arn:aws:organizations::210987654321:account/o-a1b2c3d4e5/210987654321", None),
            ("arn:aws:organizations", None),
            ("o-a1b2c3d4e5", None),
        ] {
            assert_eq!(organisation(grantee), id, "{grantee}");
        }
        let look_alike = "arn:aws:organizations::111122223333:ou/o-zzzzzzzzzz/o-a1b2c3d4e5";
        let mut seen = sharing(false, [look_alike]);
        seen.inform(&trusted());
        assert!(seen.known.is_empty());
    }

    #[test]
    fn no_call_changes_more_entries_than_aws_takes() {
        let many = (0..1_200).map(|number| format!("{number:012}")).collect();
        let seen = Sharing::new(false, many, OWN);
        let plan = seen.without_unknown();
        let sizes: Vec<_> = plan.changes.iter().map(|change| change.grantees().len()).collect();
        assert_eq!(sizes, [500, 500, 200]);
        assert!(changed(&seen, &plan).grantees.is_empty());
    }

    #[test]
    fn says_in_words_who_is_shut_out_and_let_in() {
        let seen = sharing(true, [STRANGER, OTHER]);
        let told = seen.without_unknown().changes[0].describe("ec2:Modify");
        assert_eq!(
            told.minus,
            [format!("shared with account {STRANGER}"), format!("shared with {OTHER}")]
        );
        assert!(told.plus.is_empty());
        let after = sharing(false, []);
        let told = after.public_as(&seen).changes[0].describe("ec2:Modify");
        assert_eq!(told.plus, ["shared with everyone who has an AWS account (group all)"]);
    }

    proptest! {
        #[test]
        fn making_it_private_touches_nothing_else_and_is_undone_exactly(before in any_sharing()) {
            let after = changed(&before, &before.without_public());
            prop_assert!(!after.public && after.without_public().is_empty());
            prop_assert_eq!(&after.grantees, &before.grantees);
            let undone = changed(&after, &after.public_as(&before));
            prop_assert_eq!(undone.public, before.public);
            prop_assert_eq!(undone.grantees, before.grantees);
        }

        #[test]
        fn shutting_the_unknown_out_touches_nothing_else_and_is_undone_exactly(before in any_sharing()) {
            let after = changed(&before, &before.without_unknown());
            prop_assert!(after.without_unknown().is_empty());
            prop_assert_eq!(&after.grantees, &before.known);
            prop_assert_eq!(after.public, before.public);
            let undone = changed(&after, &after.shared_as(&before));
            prop_assert_eq!(undone.grantees, before.grantees);
        }

        #[test]
        fn a_state_survives_the_ledger(state in any_sharing()) {
            let text = serde_json::to_string(&state).unwrap();
            prop_assert_eq!(serde_json::from_str::<Sharing>(&text).unwrap(), state);
        }
    }
}
