use super::*;

#[test]
fn every_function_has_a_role_at_every_ceiling() {
    let template = Template::of_the_project().unwrap();
    let functions = template.functions();
    assert!(functions.len() >= 5, "{functions:?}");
    for ceiling in ["observe", "act"] {
        for function in &functions {
            let role = template.role(function, &deployment(&template, ceiling)).unwrap();
            assert!(role.arn().starts_with("arn:aws:iam::123456789012:role/quell-"));
            let text = serde_json::to_string(role.documents()).unwrap();
            for left in ["Fn::", "\"Ref\"", "${", "null"] {
                assert!(!text.contains(left), "{function}: {left} in {text}");
            }
        }
    }
}

#[test]
fn the_ceiling_decides_which_statements_there_are() {
    let template = Template::of_the_project().unwrap();
    let sids = |ceiling: &str| -> Vec<String> {
        let role = template.role("s3-exposure", &deployment(&template, ceiling)).unwrap();
        let statements = role.documents()[0]["Statement"].as_array().unwrap().iter();
        statements.map(|one| one["Sid"].as_str().unwrap().to_owned()).collect()
    };
    assert!(sids("act").contains(&"Remediate".to_owned()));
    assert!(!sids("observe").contains(&"Remediate".to_owned()));
}

#[test]
fn names_arns_and_pseudo_parameters_are_put_in() {
    let yaml = "
Parameters: {Days: {Type: Number, Default: 3}}
Conditions:
  Long: !Not [!Equals [!Ref Days, '3']]
  Both: !And [!Condition Long, !Or [!Condition Long, !Equals [a, a]]]
Resources:
  F:
    Type: AWS::Serverless::Function
    Metadata: {BuildProperties: {Binary: f}}
    Properties: {Role: !GetAtt R.Arn, FunctionName: !Sub '${AWS::StackName}-f'}
  R:
    Type: AWS::IAM::Role
    Properties:
      PermissionsBoundary: !Ref B
      Policies:
        - PolicyDocument:
            Version: '2012-10-17'
            Statement:
              - Effect: Allow
                Action: s3:GetBucketAcl
                Resource:
                  - !GetAtt T.Arn
                  - !Sub ['${X}/index/${!i}', {X: !GetAtt T.Arn}]
                  - !Join [':', [arn, !Ref AWS::Partition, s3, '', '', !If [Long, long, short]]]
                  - !GetAtt F.Arn
                  - !GetAtt L.Arn
                  - !Ref N
                  - !If [Both, x, !Ref AWS::NoValue]
  B: {Type: AWS::IAM::ManagedPolicy, Properties: {PolicyDocument: {Version: '2012-10-17', Statement: [{Effect: Allow, Action: 's3:*', Resource: '*'}]}}}
  T: {Type: AWS::DynamoDB::Table}
  L: {Type: AWS::Logs::LogGroup, Properties: {LogGroupName: /aws/lambda/f}}
  N: {Type: AWS::SNS::Topic, Properties: {TopicName: !Sub '${AWS::StackName}-n'}}
";
    // `${i}` is a policy variable for IAM, which is none of ours.
    let template = Template::parse(&yaml.replace("${!i}", "i")).unwrap();
    let deployment = Deployment {
        region: "cn-north-1".to_owned(),
        names: [("T".to_owned(), "table".to_owned())].into(),
        ..deployment(&template, "act")
    };
    let role = template.role("f", &deployment).unwrap();
    assert_eq!(
        role.documents()[0]["Statement"][0]["Resource"],
        json!([
            "arn:aws-cn:dynamodb:cn-north-1:123456789012:table/table",
            "arn:aws-cn:dynamodb:cn-north-1:123456789012:table/table/index/i",
            "arn:aws-cn:s3:::short",
            "arn:aws-cn:lambda:cn-north-1:123456789012:function:quell-f",
            "arn:aws-cn:logs:cn-north-1:123456789012:log-group:/aws/lambda/f:*",
            "arn:aws-cn:sns:cn-north-1:123456789012:quell-n",
        ])
    );
}

#[test]
fn what_cannot_be_resolved_is_an_error_that_names_it() {
    let policy = |resource: &str| {
        format!(
            "
Resources:
  F: {{Type: AWS::Serverless::Function, Metadata: {{BuildProperties: {{Binary: f}}}}, Properties: {{Role: !GetAtt R.Arn}}}}
  R:
    Type: AWS::IAM::Role
    Properties: {{Policies: [{{PolicyDocument: {{Version: '2012-10-17', Statement: [{{Effect: Allow, Action: 'a:B', Resource: {resource}}}]}}}}]}}
  W: {{Type: AWS::EC2::VPC}}
"
        )
    };
    for (resource, says) in [
        ("!Ref Nothing", "there is no Nothing"),
        ("!GetAtt W.Arn", "the ARN of a AWS::EC2::VPC"),
        ("!GetAtt W.CidrBlock", "CidrBlock of W"),
        ("!ImportValue x", "Fn::ImportValue"),
        ("!If [Nothing, a, b]", "no condition Nothing"),
        ("!Sub '${Nothing.Arn}'", "there is no Nothing"),
        ("!Sub '${broken'", "without `}`"),
        ("bucket", "no ARN"),
    ] {
        let template = Template::parse(&policy(resource)).unwrap();
        let error = template.role("f", &deployment(&template, "act")).unwrap_err();
        assert!(error.to_string().contains(says), "{resource}: {error}");
    }
    let template = Template::parse(&policy("'*'")).unwrap();
    assert!(template.role("f", &deployment(&template, "act")).is_ok());
    assert!(template.role("g", &deployment(&template, "act")).is_err());
    assert!(Template::parse("[1").is_err());
}

fn deployment(template: &Template, ceiling: &str) -> Deployment {
    let secret = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:slack-AbCdEf";
    let ceilings = template.ceilings().into_iter();
    Deployment {
        account: "123456789012".to_owned(),
        region: "eu-west-1".to_owned(),
        stack: "quell".to_owned(),
        parameters: ceilings
            .map(|name| (name, ceiling.to_owned()))
            .chain(
                ["SlackBotTokenSecret", "SlackSigningSecret"]
                    .map(|name| (name.to_owned(), secret.to_owned())),
            )
            .collect(),
        names: BTreeMap::new(),
    }
}
