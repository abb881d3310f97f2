"""CreateFlowLogs makes the same flow logs once, however often it is asked with the same token.

moto takes no notice of the token: the second request finds the flow log of the first in its way.

https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateFlowLogs.html (`ClientToken`)

Ours, and not proven by an independent emulator.
"""

from moto.ec2.responses.flow_logs import FlowLogs


def apply():
    FlowLogs.create_flow_logs = once(FlowLogs.create_flow_logs)


def once(create):
    def created(response):
        token = response._get_param("ClientToken")
        answers = response.ec2_backend.__dict__.setdefault("flow_log_answers", {})
        if token is None:
            return create(response)
        if token not in answers:
            answers[token] = create(response)
        return answers[token]

    return created
