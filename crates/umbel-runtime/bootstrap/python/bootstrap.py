"""Runs a Python handler as an instance: asks the Lambda Runtime API for one invocation after another.

Nothing but the standard library is needed, and little of that is imported: what is imported here is
part of every cold start (http.client alone would double it).
"""

import importlib
import json
import os
import sys
import time

try:
    # What `socket` is made of. To load the rest of it takes as long as a third of the interpreter.
    import _socket as socket
except ImportError:
    import socket

ROOT = "/2018-06-01/runtime/"


class Api:
    """One connection to the endpoint, kept for the life of the process."""

    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self.host = address
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.socket.connect((host, int(port)))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.replies = os.fdopen(self.socket.fileno(), "rb", closefd=False)

    def next(self):
        status, headers, body = self._ask(f"GET {ROOT}invocation/next HTTP/1.1\r\nHost: {self.host}\r\n\r\n".encode())
        if status != 200:
            sys.exit(f"the runtime API answered {status}: {body.decode(errors='replace')}")
        return headers, body

    def respond(self, request_id, output):
        self._post(f"invocation/{request_id}/response", output)

    def fail(self, request_id, error):
        report = describe(error)
        self._post(f"invocation/{request_id}/error", report, type(error).__name__)

    def fail_init(self, error):
        self._post("init/error", describe(error), type(error).__name__)

    def _post(self, path, body, error_type=None):
        head = f"POST {ROOT}{path} HTTP/1.1\r\nHost: {self.host}\r\nContent-Length: {len(body)}\r\n"
        if error_type:
            head += f"Lambda-Runtime-Function-Error-Type: Function.{error_type}\r\n"
        # A refusal (an output over the limit, say) has been recorded by who refused.
        self._ask(head.encode("latin-1", "replace") + b"\r\n" + body)

    def _ask(self, request):
        self.socket.sendall(request)
        status_line = self.replies.readline()
        if not status_line:
            # The worker is gone; there is nobody left to tell.
            os._exit(1)
        headers = {}
        while (line := self.replies.readline().rstrip()):
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        body = self.replies.read(int(headers.get("content-length", 0)))
        return int(status_line.split(None, 2)[1]), headers, body


class Context:
    """What a handler can know of its invocation, by the names that Lambda gave it."""

    client_context = None
    identity = None

    def __init__(self, headers):
        self.aws_request_id = headers["lambda-runtime-aws-request-id"]
        self.invoked_function_arn = headers.get("lambda-runtime-invoked-function-arn")
        self.function_name = os.environ["AWS_LAMBDA_FUNCTION_NAME"]
        self.function_version = os.environ["AWS_LAMBDA_FUNCTION_VERSION"]
        self.memory_limit_in_mb = os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]
        self.log_group_name = os.environ["AWS_LAMBDA_LOG_GROUP_NAME"]
        self.log_stream_name = os.environ["AWS_LAMBDA_LOG_STREAM_NAME"]
        self._deadline_ms = int(headers["lambda-runtime-deadline-ms"])

    def get_remaining_time_in_millis(self):
        return max(0, self._deadline_ms - time.time_ns() // 1_000_000)

    def log(self, text):
        sys.stdout.write(str(text))


def decode(body):
    """JSON where it is JSON, else text, else the bytes themselves."""
    try:
        return json.loads(body)
    except ValueError:
        pass
    try:
        return body.decode()
    except UnicodeDecodeError:
        return body


def encode(output):
    """Bytes as they are, everything else as JSON."""
    if isinstance(output, (bytes, bytearray)):
        return bytes(output)
    return json.dumps(output, ensure_ascii=False).encode()


def describe(error):
    """The error as JSON; its stack begins where this file's own frames end."""
    import traceback

    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename != __file__ and "importlib" not in frame.filename]
    report = {
        "errorMessage": str(error),
        "errorType": type(error).__name__,
        "stackTrace": traceback.format_list(own),
    }
    return json.dumps(report).encode()


def load(handler):
    """`module.function` or `folder/module.function`, from the function's own folder."""
    module, function = handler.rsplit(".", 1)
    folder = os.environ["LAMBDA_TASK_ROOT"]
    # In the place of this file's own directory. What was installed with `pip install --target`,
    # into the folder or its `vendor`, is found as well.
    sys.path[0] = folder
    sys.path.insert(1, os.path.join(folder, "vendor"))
    return getattr(importlib.import_module(module.replace("/", ".")), function)


def main():
    # Printed lines reach the log one by one, even if the process dies.
    sys.stdout.reconfigure(line_buffering=True)
    api = Api(os.environ["AWS_LAMBDA_RUNTIME_API"])
    try:
        handler = load(os.environ["_HANDLER"])
    except Exception as error:
        api.fail_init(error)
        sys.exit(1)
    while True:
        headers, body = api.next()
        context = Context(headers)
        try:
            output = encode(handler(decode(body), context))
        except Exception as error:
            sys.stdout.flush()
            api.fail(context.aws_request_id, error)
        else:
            sys.stdout.flush()
            api.respond(context.aws_request_id, output)


main()
