//! AWS's partitions: by the region, what ARNs begin with and where the console is.

pub(crate) use quell_engine::partition::{first_region, of};

/// The console of a service in this region, up to the `#` after which the page is named.
#[cfg_attr(not(feature = "all"), allow(dead_code, reason = "that of S3 is in no region"))]
pub(crate) fn console(service: &str, region: &str) -> String {
    let host = match of(region) {
        "aws-cn" => "console.amazonaws.cn",
        "aws-us-gov" => "console.amazonaws-us-gov.com",
        _ => "console.aws.amazon.com",
    };
    format!("https://{region}.{host}/{service}/home?region={region}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_the_region() {
        for (region, partition, console) in [
            ("eu-west-1", "aws", "https://eu-west-1.console.aws.amazon.com/ec2/home"),
            ("cn-north-1", "aws-cn", "https://cn-north-1.console.amazonaws.cn/ec2/home"),
            (
                "us-gov-west-1",
                "aws-us-gov",
                "https://us-gov-west-1.console.amazonaws-us-gov.com/ec2/home",
            ),
        ] {
            assert_eq!(of(region), partition);
            assert_eq!(super::console("ec2", region), format!("{console}?region={region}"));
        }
    }
}
