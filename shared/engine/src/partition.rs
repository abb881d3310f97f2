//! AWS's partitions, by the names of their regions.

/// What the names of its regions begin with, the second part of its ARNs, and the region of what is in none.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html>
const PARTITIONS: [(&str, &str, &str); 7] = [
    ("cn-", "aws-cn", "cn-north-1"),
    ("us-gov-", "aws-us-gov", "us-gov-west-1"),
    ("us-iso-", "aws-iso", "us-iso-east-1"),
    ("us-isob-", "aws-iso-b", "us-isob-east-1"),
    ("us-isof-", "aws-iso-f", "us-isof-south-1"),
    ("eu-isoe-", "aws-iso-e", "eu-isoe-west-1"),
    ("eusc-", "aws-eusc", "eusc-de-east-1"),
];

/// The second part of every ARN of this region.
pub fn of(region: &str) -> &'static str {
    find(region).0
}

/// Where the global data of the region's partition lives.
pub fn first_region(region: &str) -> &'static str {
    find(region).1
}

fn find(region: &str) -> (&'static str, &'static str) {
    let found = PARTITIONS.iter().find(|(prefix, ..)| region.starts_with(prefix));
    found.map_or(("aws", "us-east-1"), |(_, partition, first)| (partition, first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_region_is_of_the_same_partition() {
        for region in ["eu-west-1", "cn-northwest-1", "us-gov-east-1", "eusc-de-east-1", ""] {
            assert_eq!(of(first_region(region)), of(region), "{region}");
        }
        for (prefix, partition, first) in PARTITIONS {
            assert_eq!((of(prefix), of(first)), (partition, partition));
        }
    }
}
