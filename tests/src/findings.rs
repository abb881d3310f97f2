//! Findings of Security Hub about staged resources.

use aws_sdk_securityhub::types::{
    AwsSecurityFinding, Compliance, ComplianceStatus, RecordState, Resource, Severity,
    SeverityLabel, Workflow, WorkflowStatus,
};
use quell_engine::signal::own_product;
use quell_local::{
    Cloud,
    cloud::{ACCOUNT, REGION},
    scenario::Staged,
};
use serde_json::{Value, json};

/// A tool of the account's finds what is wrong with a bucket, and Security Hub tells of it: the event.
pub async fn found(cloud: &Cloud, staged: &Staged, id: &str) -> Value {
    let sample = crate::read(&format!("events/{}/securityhub.json", staged.control));
    let event = staged.about_it(&sample.expect("there is a sample")).expect("it is about it");
    let mut event: Value = serde_json::from_str(&event).expect("it is JSON");
    let finding = &mut event["detail"]["findings"][0];
    finding["Id"] = json!(id);
    // Under AWS's own product nobody else may import.
    finding["ProductArn"] = json!(own_product(ACCOUNT, REGION));
    let text = |at: &str| finding[at].as_str().expect("it is text").to_owned();
    let resource = finding["Resources"][0]["Id"].as_str().expect("it is text");
    let imported = AwsSecurityFinding::builder()
        .schema_version("2018-10-08")
        .id(id)
        .product_arn(text("ProductArn"))
        .generator_id(text("GeneratorId"))
        .aws_account_id(ACCOUNT)
        .created_at(text("CreatedAt"))
        .updated_at(text("UpdatedAt"))
        .severity(Severity::builder().label(SeverityLabel::Critical).build())
        .title(text("Title"))
        .description(text("Description"))
        .resources(Resource::builder().r#type("AwsS3Bucket").id(resource).build())
        .compliance(Compliance::builder().status(ComplianceStatus::Failed).build())
        .workflow(Workflow::builder().status(WorkflowStatus::New).build())
        .record_state(RecordState::Active)
        .build();
    let call = cloud.securityhub.batch_import_findings().findings(imported);
    let answer = call.send().await.expect("Security Hub is there");
    assert_eq!(answer.success_count(), Some(1), "{answer:?}");
    event
}

/// The finding as Security Hub has it.
pub async fn read(cloud: &Cloud, id: &str) -> Option<AwsSecurityFinding> {
    all(cloud).await.into_iter().find(|finding| finding.id() == Some(id))
}

/// All that Security Hub has.
pub async fn all(cloud: &Cloud) -> Vec<AwsSecurityFinding> {
    let mut pages = cloud.securityhub.get_findings().into_paginator().items().send();
    let mut found = Vec::new();
    while let Some(finding) = pages.next().await {
        found.push(finding.expect("Security Hub is there"));
    }
    found
}
