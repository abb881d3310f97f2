//! What a user needs to sign in to the console.

use aws_sdk_iam::Client;
use quell_engine::{CallError, Clients, During, aws::OrMissing};

use super::principal::{self, Principal};

pub(super) struct Console {
    pub(super) iam: Client,
}

impl Console {
    pub(super) const PASSWORD: &'static str = "iam:GetLoginProfile";
    pub(super) const FACTORS: &'static str = "iam:ListMFADevices";

    pub(super) fn new(aws: &Clients) -> Self {
        Self { iam: principal::client(aws) }
    }

    /// IAM says the same of a user that is not there.
    pub(super) async fn has_password(&self, user: &Principal) -> Result<bool, CallError> {
        let found = self.iam.get_login_profile().user_name(user.name()).send().await;
        Ok(found.during(Self::PASSWORD).or_missing(&["NoSuchEntity"])?.is_some())
    }

    /// `None`: there is no such user.
    pub(super) async fn has_second_factor(
        &self,
        user: &Principal,
    ) -> Result<Option<bool>, CallError> {
        let found = self.iam.list_mfa_devices().user_name(user.name()).send().await;
        let found = found.during(Self::FACTORS).or_missing(&["NoSuchEntity"])?;
        Ok(found.map(|found| !found.mfa_devices.is_empty()))
    }
}
