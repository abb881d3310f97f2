//! An instance that answers IMDSv1, with a hop limit that must stay.

use aws_sdk_ec2::types::{
    HttpTokensState, Instance, InstanceMetadataOptionsRequest, ResourceType, Tag, TagSpecification,
};
use serde_json::{Value, json};

use super::{Error, Staged, sample};
use crate::Cloud;

const SAMPLE: &str = include_str!("../../../../events/ec2-imdsv2/violating.json");

/// An image that the emulator always has. Listing its thousand images would take seconds.
const IMAGE: &str = "ami-12c6146b";

/// The instance of the sample.
const SAMPLE_INSTANCE: &str = "i-0a1b2c3d4e5f60718";

pub(super) async fn stage(cloud: &Cloud, name: &str) -> Result<Staged, Error> {
    let metadata = InstanceMetadataOptionsRequest::builder()
        .http_tokens(HttpTokensState::Optional)
        .http_put_response_hop_limit(2);
    let tags = TagSpecification::builder()
        .resource_type(ResourceType::Instance)
        .tags(Tag::builder().key("Name").value(name).build());
    let launched = cloud
        .ec2
        .run_instances()
        .image_id(IMAGE)
        .min_count(1)
        .max_count(1)
        .metadata_options(metadata.build())
        .tag_specifications(tags.build())
        .send()
        .await?;
    let instance = launched.instances().first().and_then(Instance::instance_id);
    let instance = instance.ok_or("no instance was launched")?;
    Ok(Staged {
        control: "ec2-imdsv2",
        resource: instance.to_owned(),
        event: sample::happening(SAMPLE, &[(SAMPLE_INSTANCE, instance)])?,
    })
}

pub(super) async fn is_violating(cloud: &Cloud, resource: &str) -> Result<bool, Error> {
    let instance = instance(cloud, resource).await?;
    let tokens = instance.metadata_options().and_then(|options| options.http_tokens());
    Ok(tokens != Some(&HttpTokensState::Required))
}

pub(super) async fn snapshot(cloud: &Cloud, resource: &str) -> Result<Value, Error> {
    let instance = instance(cloud, resource).await?;
    let options = instance.metadata_options().ok_or("no metadata options")?;
    let tags: Vec<Value> =
        instance.tags().iter().map(|tag| json!([tag.key(), tag.value()])).collect();
    let groups: Vec<Value> =
        instance.security_groups().iter().map(|group| json!(group.group_id())).collect();
    Ok(json!({
        "httpTokens": options.http_tokens().map(|value| value.as_str()),
        "httpEndpoint": options.http_endpoint().map(|value| value.as_str()),
        "httpPutResponseHopLimit": options.http_put_response_hop_limit(),
        "httpProtocolIpv6": options.http_protocol_ipv6().map(|value| value.as_str()),
        "instanceMetadataTags": options.instance_metadata_tags().map(|value| value.as_str()),
        "state": instance.state().and_then(|state| state.name()).map(|name| name.as_str()),
        "groups": groups,
        "tags": tags,
    }))
}

async fn instance(cloud: &Cloud, id: &str) -> Result<Instance, Error> {
    let found = cloud.ec2.describe_instances().instance_ids(id).send().await?;
    let instance = found.reservations().iter().flat_map(|found| found.instances()).next();
    Ok(instance.ok_or("no such instance")?.clone())
}
