//! Whether somebody else could still administer the account.

use std::collections::BTreeSet;

use quell_engine::{CallError, During, aws::OrMissing};

use super::{
    holder::{Holder, Policies, unreadable},
    principal::Principal,
};
use crate::policy::document::{self, decoded, elements, statements};

/// AWS's own policy for administrators.
pub(super) const ADMINISTRATOR_ACCESS: &str = "iam::aws:policy/AdministratorAccess";

impl Policies {
    /// Whether somebody other than the holder has one of these policies, or AWS's `AdministratorAccess`: a user, a group that
    /// has another member, or a role that is not for services alone. Who administers by another policy is not seen, so that the
    /// answer errs on the side of leaving things as they are.
    pub(super) async fn others_administer(
        &self,
        holder: &Holder,
        policies: &BTreeSet<String>,
        partition: &str,
    ) -> Result<bool, CallError> {
        self.administer_beside(Some(holder), policies, partition).await
    }

    /// Whether anybody at all has AWS's `AdministratorAccess`, in the same sense.
    pub(super) async fn anybody_administers(&self, partition: &str) -> Result<bool, CallError> {
        self.administer_beside(None, &BTreeSet::new(), partition).await
    }

    async fn administer_beside(
        &self,
        holder: Option<&Holder>,
        policies: &BTreeSet<String>,
        partition: &str,
    ) -> Result<bool, CallError> {
        let principal = holder.and_then(Holder::principal);
        let usual = format!("arn:{partition}:{ADMINISTRATOR_ACCESS}");
        for arn in policies.iter().chain([&usual]) {
            let mut next = None;
            loop {
                let page = self.client.list_entities_for_policy().policy_arn(arn).set_marker(next);
                let page = page.send().await.during("iam:ListEntitiesForPolicy");
                let Some(page) = page.or_missing(&["NoSuchEntity"])? else { break };
                let users = page.policy_users.iter().flatten();
                let mut users = users.filter_map(|user| Principal::user(user.user_name()?));
                if users.any(|user| principal != Some(&user)) {
                    return Ok(true);
                }
                for role in page.policy_roles.iter().flatten().filter_map(|role| role.role_name()) {
                    if self.is_for_people(role, principal).await? {
                        return Ok(true);
                    }
                }
                let groups = page.policy_groups.iter().flatten();
                for group in groups.filter_map(|group| Holder::group(group.group_name()?)) {
                    if Some(&group) != holder && self.has_member_beside(&group, principal).await? {
                        return Ok(true);
                    }
                }
                next = page.marker.filter(|_| page.is_truncated);
                if next.is_none() {
                    break;
                }
            }
        }
        Ok(false)
    }

    /// Whether it is another role than the holder, and one that somebody beside a service may take.
    async fn is_for_people(
        &self,
        name: &str,
        holder: Option<&Principal>,
    ) -> Result<bool, CallError> {
        let Some(role) = Principal::role(name) else { return Ok(false) };
        if holder == Some(&role) || role.is_service_linked() || role.is_own() {
            return Ok(false);
        }
        let found = self.client.get_role().role_name(name).send().await.during("iam:GetRole");
        let found = found.or_missing(&["NoSuchEntity"])?.and_then(|found| found.role);
        let Some(trust) = found.and_then(|role| role.assume_role_policy_document) else {
            return Ok(false);
        };
        let trust = decoded(&trust).map_err(unreadable)?;
        Ok(admits_people(&trust))
    }

    pub(super) async fn has_member_beside(
        &self,
        group: &Holder,
        holder: Option<&Principal>,
    ) -> Result<bool, CallError> {
        let mut next = None;
        loop {
            let page = self.client.get_group().group_name(group.name()).set_marker(next);
            let page = page.send().await.during("iam:GetGroup").or_missing(&["NoSuchEntity"])?;
            let Some(page) = page else { return Ok(false) };
            let mut members = page.users.iter().filter_map(|user| Principal::user(&user.user_name));
            if members.any(|member| holder != Some(&member)) {
                return Ok(true);
            }
            next = page.marker.filter(|_| page.is_truncated);
            if next.is_none() {
                return Ok(false);
            }
        }
    }
}

/// Whether a trust policy lets anything but services take the role. One that cannot be read lets nobody.
fn admits_people(trust: &str) -> bool {
    let is_allow = |effect: Option<&&str>| effect == Some(&"\"Allow\"");
    statements(trust).unwrap_or_default().into_iter().any(|statement| {
        let Ok(elements) = elements(statement) else { return false };
        let Some(principal) = elements.get("Principal") else { return false };
        let kinds = document::members(principal, "a principal").unwrap_or_default();
        let is_somebody = *principal == "\"*\"" || kinds.iter().any(|kind| kind.name != "Service");
        is_allow(elements.get("Effect")) && is_somebody
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_for_services_alone_is_nobodys_way_in() {
        let trust = |principal: &str| {
            format!(
                r#"{{"Statement": [{{"Effect": "Allow", "Principal": {principal}, "Action": "sts:AssumeRole"}}]}}"#
            )
        };
        for people in [r#"{"AWS": "123456789012"}"#, r#"{"Federated": "arn"}"#, r#""*""#] {
            assert!(admits_people(&trust(people)), "{people}");
        }
        assert!(!admits_people(&trust(r#"{"Service": "ec2.amazonaws.com"}"#)));
        assert!(!admits_people(&trust(r#"{"AWS": "*"}"#).replace("Allow", "Deny")));
        assert!(!admits_people("{"));
    }
}
