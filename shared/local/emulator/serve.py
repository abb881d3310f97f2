"""Serves moto, an emulator of AWS, to the demo and the tests.

moto's own server would do, but for four things: its conditional writes race between threads, it closes the connection
after every reply, it outlives the program that started it, and it differs from AWS in places (see `patches`).

Prints one line, `listening on http://HOST:PORT`, as soon as requests are taken, and ends when its standard input does.
"""

import argparse
import functools
import io
import json
import os
import signal
import sys
import threading

from moto import backends
from moto.core import DEFAULT_ACCOUNT_ID, responses
from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from moto.sns.models import sns_backends
from werkzeug.serving import make_server


def main():
    arguments = argparse.ArgumentParser(description="Serves an emulator of AWS.")
    arguments.add_argument("--host", default="127.0.0.1", help="the address to listen on")
    arguments.add_argument("--port", type=int, default=0, help="0: any free one")
    arguments = arguments.parse_args()

    # Ctrl-C in a terminal reaches every process in it. The one that started us decides when this one ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=end_with_stdin, daemon=True).start()

    server = make_server(arguments.host, arguments.port, application(), threaded=True, request_handler=Handler)
    server.daemon_threads = True
    print(f"listening on http://{arguments.host}:{server.port}", flush=True)
    server.serve_forever()


def end_with_stdin():
    """Returns never: the parent's end closes the pipe, however the parent ends."""
    while sys.stdin.buffer.read(4096):
        pass
    os._exit(0)


def application():
    """moto, with one request at a time: in AWS a conditional write is atomic, in moto it is not."""
    hurry()
    moto = DomainDispatcherApplication(patched)
    lock = threading.Lock()

    def serve(environ, start_response):
        with lock:
            if environ["PATH_INFO"] == "/quell/published":
                return published(start_response)
            return [b"".join(moto(environ, start_response))]

    return serve


def hurry():
    """What moto finds out anew for every request, and is always the same: the folders that it has, and the methods of a
    service. Half the time of a request went there."""
    modules = tuple(backends.list_of_moto_modules())
    backends.list_of_moto_modules = lambda: modules
    responses.method_names_from_class = functools.cache(responses.method_names_from_class)


def patched(service):
    """moto's application for a service, made when the service is first called. EC2 alone takes a second to import."""
    if service == "ec2":
        from patches import (
            ec2_acls,
            ec2_flow_logs,
            ec2_groups,
            ec2_metadata,
            ec2_quotas,
            ec2_rules,
            ec2_sharing,
        )

        ec2_acls.apply()
        ec2_flow_logs.apply()
        ec2_groups.apply()
        ec2_metadata.apply()
        ec2_quotas.apply()
        ec2_rules.apply()
        ec2_sharing.apply()
    if service == "dynamodb":
        from patches import dynamodb_expressions, dynamodb_writes

        dynamodb_expressions.apply()
        dynamodb_writes.apply()
    if service == "cloudtrail":
        from patches import cloudtrail_trails

        cloudtrail_trails.apply()
    if service == "cloudwatch":
        from patches import cloudwatch_cbor

        cloudwatch_cbor.apply()
    if service == "guardduty":
        from patches import guardduty_detectors

        guardduty_detectors.apply()
    if service == "s3":
        from patches import s3_configurations, s3_object_acl

        s3_configurations.apply()
        s3_object_acl.apply()
    if service == "iam":
        from patches import iam_default_versions, iam_key_ages, iam_managed_policies, iam_root, iam_user_boundaries

        iam_default_versions.apply()
        iam_key_ages.apply()
        iam_managed_policies.apply()
        iam_root.apply()
        iam_user_boundaries.apply()
    if service == "securityhub":
        from patches import securityhub_findings

        securityhub_findings.apply()
    return create_backend_app(service)


def published(start_response):
    """Every message given to a topic, as it was given. There is no such call in AWS: what a subscriber by e-mail or
    HTTPS gets leaves the account."""
    messages = [
        {
            "topic": topic.arn,
            "id": message_id,
            "subject": subject,
            "message": message,
            "attributes": {
                name: attribute.get("StringValue", attribute.get("Value"))
                for name, attribute in (attributes or {}).items()
            },
        }
        for backend in sns_backends[DEFAULT_ACCOUNT_ID].values()
        for topic in backend.topics.values()
        for message_id, message, subject, attributes, _ in topic.sent_notifications
    ]
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(messages).encode()]


class Handler(MotoRequestHandler):
    """HTTP/1.1 with connections that stay open, and replies that leave in one piece and at once."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def run_wsgi(self):
        if self.headers.get("Expect", "").strip().lower() == "100-continue":
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.wfile.flush()

        # The whole body, whether the application wants it or not: what it left would be taken for the next request.
        environ = self.make_environ()
        if self.headers.get("Transfer-Encoding", "").strip().lower() == "chunked":
            body = environ["wsgi.input"].read()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        environ["CONTENT_LENGTH"] = str(len(body))

        reply = {}

        def start_response(status, headers, exc_info=None):
            reply["status"], reply["headers"] = status, headers

        try:
            content = b"".join(self.server.app(environ, start_response))
        except Exception as error:  # moto's own, which AWS would not answer with
            self.log_error("%s %s: %r", self.command, self.path, error)
            content = repr(error).encode()
            start_response("500 Internal Server Error", [("Content-Type", "text/plain")])

        code, _, reason = reply["status"].partition(" ")
        self.send_response(int(code), reason)
        hop_by_hop = {"connection", "transfer-encoding"}
        headers = [(name, value) for name, value in reply["headers"] if name.lower() not in hop_by_hop]
        for name, value in headers:
            self.send_header(name, value)
        may_have_body = self.command != "HEAD" and code not in ("204", "304")
        if may_have_body and not any(name.lower() == "content-length" for name, _ in headers):
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if may_have_body:
            self.wfile.write(content)
        self.wfile.flush()

    def log_request(self, code="-", size="-"):
        """Nothing: who calls knows what it calls."""


if __name__ == "__main__":
    main()
