#!/usr/bin/env python3
"""A function for the tests. It speaks the Runtime API by hand and does what the event says."""

import http.client
import json
import os
import sys
import time

API = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])


def call(method, path, body=None, headers=None):
    API.request(method, "/2018-06-01/runtime/" + path, body, headers or {})
    reply = API.getresponse()
    return reply.status, reply.headers, reply.read()


def make_buckets(name, count):
    """One call to AWS after another."""
    aws = http.client.HTTPConnection(os.environ["AWS_ENDPOINT_URL"].removeprefix("http://"))
    signature = "AWS4-HMAC-SHA256 Credential=any/20260101/us-east-1/s3/aws4_request"
    for number in range(count):
        aws.request("PUT", f"/{name}-{number}", headers={"Authorization": signature})
        aws.getresponse().read()


def failure(kind, message):
    return json.dumps({"errorType": kind, "errorMessage": message, "stackTrace": []})


def main():
    init = os.environ.get("INIT")
    if init == "fail":
        call("POST", "init/error", failure("Init.Failed", "no settings"))
        sys.exit(1)
    if init == "exit":
        sys.exit(3)

    count = 0
    while True:
        _, headers, body = call("GET", "invocation/next")
        count += 1
        request = "invocation/" + headers["Lambda-Runtime-Aws-Request-Id"]
        try:
            event = json.loads(body)
        except ValueError:
            call("POST", request + "/error", failure("BadEvent", "not JSON"))
            continue

        for line in event.get("log", []):
            print(line, flush=True)
        print("to stderr", file=sys.stderr, flush=True)

        what = event["do"]
        if what == "hang":
            time.sleep(3600)
        if what == "call":
            make_buckets(event["bucket"], event["times"])
        if what == "exit":
            sys.exit(7)
        if what == "meet":
            # Answers only when as many run at the same time as should.
            open(os.path.join(event["at"], str(os.getpid())), "w").close()
            while len(os.listdir(event["at"])) < event["count"]:
                time.sleep(0.01)
        if what == "fail" or (what == "fail at first" and count <= event["times"]):
            call("POST", request + "/error", failure("Broken", event.get("message", "it broke")))
            continue
        if what == "wrong id":
            status, _, _ = call("POST", "invocation/another/response", "{}")
            call("POST", request + "/response", json.dumps(status))
            continue
        response = {
            "count": count,
            "pid": os.getpid(),
            "environment": dict(os.environ),
            "folder": os.getcwd(),
            "arn": headers["Lambda-Runtime-Invoked-Function-Arn"],
            "trace": headers["Lambda-Runtime-Trace-Id"],
            "deadline": int(headers["Lambda-Runtime-Deadline-Ms"]),
            "now": int(time.time() * 1000),
        }
        call("POST", request + "/response", json.dumps(response))
        if what == "answer and exit":
            sys.exit(0)


main()
