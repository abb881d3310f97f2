//! AWS as the demo and the tests see it: clients of their own, apart from those of the functions.

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_sdk_s3control::config::endpoint::{Endpoint, EndpointFuture, Params, ResolveEndpoint};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};

use crate::front_door::Key;

/// The account that the emulator gives to everyone.
pub const ACCOUNT: &str = "123456789012";

/// Where the emulated resources live.
pub const REGION: &str = "eu-west-1";

#[derive(Clone, Debug)]
pub struct Cloud {
    /// Such as `http://127.0.0.1:5000`.
    pub endpoint: String,
    pub sdk: SdkConfig,
    pub cloudtrail: aws_sdk_cloudtrail::Client,
    pub config: aws_sdk_config::Client,
    pub dynamodb: aws_sdk_dynamodb::Client,
    pub ec2: aws_sdk_ec2::Client,
    pub events: aws_sdk_eventbridge::Client,
    pub guardduty: aws_sdk_guardduty::Client,
    pub iam: aws_sdk_iam::Client,
    pub s3: aws_sdk_s3::Client,
    pub s3control: aws_sdk_s3control::Client,
    pub secretsmanager: aws_sdk_secretsmanager::Client,
    pub securityhub: aws_sdk_securityhub::Client,
    pub sns: aws_sdk_sns::Client,
    pub sqs: aws_sdk_sqs::Client,
}

impl Cloud {
    pub fn at(endpoint: &str) -> Self {
        let http = aws_smithy_http_client::Builder::new()
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .build_https();
        let sdk = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url(endpoint)
            .http_client(http)
            .region(Region::from_static(REGION))
            .credentials_provider(SharedCredentialsProvider::new(Credentials::new(
                KEY,
                KEY,
                None,
                None,
                "quell-local",
            )))
            .build();
        let s3 = aws_sdk_s3::config::Builder::from(&sdk).force_path_style(true).build();
        let s3control = aws_sdk_s3control::config::Builder::from(&sdk)
            .endpoint_resolver(Plain(endpoint.to_owned()))
            .build();
        Self {
            endpoint: endpoint.to_owned(),
            cloudtrail: aws_sdk_cloudtrail::Client::new(&sdk),
            config: aws_sdk_config::Client::new(&sdk),
            dynamodb: aws_sdk_dynamodb::Client::new(&sdk),
            ec2: aws_sdk_ec2::Client::new(&sdk),
            events: aws_sdk_eventbridge::Client::new(&sdk),
            guardduty: aws_sdk_guardduty::Client::new(&sdk),
            iam: aws_sdk_iam::Client::new(&sdk),
            s3: aws_sdk_s3::Client::from_conf(s3),
            s3control: aws_sdk_s3control::Client::from_conf(s3control),
            secretsmanager: aws_sdk_secretsmanager::Client::new(&sdk),
            securityhub: aws_sdk_securityhub::Client::new(&sdk),
            sns: aws_sdk_sns::Client::new(&sdk),
            sqs: aws_sdk_sqs::Client::new(&sdk),
            sdk,
        }
    }

    /// The key that everyone has here.
    pub fn key() -> Key {
        Key { id: KEY.to_owned(), secret: KEY.to_owned(), arn: CALLER.to_owned() }
    }

    /// Where this AWS is, as every SDK reads it from its environment.
    pub fn environment(&self) -> Vec<(String, String)> {
        [
            ("AWS_ENDPOINT_URL", self.endpoint.as_str()),
            ("AWS_REGION", REGION),
            ("AWS_DEFAULT_REGION", REGION),
            ("AWS_ACCESS_KEY_ID", KEY),
            ("AWS_SECRET_ACCESS_KEY", KEY),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    }
}

/// Anyone may do anything in the emulator.
const KEY: &str = "emulated";

/// Who that is to the emulator.
pub const CALLER: &str = "arn:aws:sts::123456789012:user/moto";

/// The endpoint as it is. S3 Control puts the account before the host, and `123456789012.127.0.0.1` is nobody.
#[derive(Debug)]
struct Plain(String);

impl ResolveEndpoint for Plain {
    fn resolve_endpoint<'a>(&'a self, _: &'a Params) -> EndpointFuture<'a> {
        EndpointFuture::ready(Ok(Endpoint::builder().url(self.0.clone()).build()))
    }
}
