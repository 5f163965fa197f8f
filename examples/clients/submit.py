"""Submits a job from Python and prints its results.

    pip install grpcio-tools
    python3 submit.py 127.0.0.1:7600 umbel.increment 1 2 3

The stubs are generated from the protos of this repository; a program of yours
would generate them once.
"""

import pathlib
import sys
import tempfile

import grpc
from grpc_tools import protoc


def stubs():
    """Generates the stubs and imports them."""
    root = pathlib.Path(__file__).resolve().parents[2] / "proto"
    out = tempfile.mkdtemp(prefix="umbel-stubs-")
    protos = sorted(str(path) for path in (root / "umbel" / "v1").glob("*.proto"))
    well_known = pathlib.Path(protoc.__file__).parent / "_proto"
    options = [f"-I{root}", f"-I{well_known}", f"--python_out={out}", f"--grpc_python_out={out}"]
    if protoc.main(["protoc", *options, *protos]) != 0:
        raise SystemExit("the protos do not compile")
    sys.path.insert(0, out)
    from umbel.v1 import job_pb2, job_pb2_grpc

    return job_pb2, job_pb2_grpc


def main(address, target, *inputs):
    job_pb2, job_pb2_grpc = stubs()
    with grpc.insecure_channel(address) as channel:
        jobs = job_pb2_grpc.JobServiceStub(channel)
        try:
            created = jobs.CreateJob(
                job_pb2.CreateJobRequest(
                    spec=job_pb2.JobSpec(target=target),
                    inputs=job_pb2.Inputs(inputs=[text.encode() for text in inputs]),
                    seal=True,
                )
            )
        except grpc.RpcError as refused:
            raise SystemExit(f"{refused.code().name}: {refused.details()}")
        request = job_pb2.StreamResultsRequest(job_id=created.job.id, follow=True)
        for page in jobs.StreamResults(request):
            for result in page.results:
                print(result.index, result.output.decode())


if __name__ == "__main__":
    if len(sys.argv) < 3:
        raise SystemExit(__doc__)
    main(*sys.argv[1:])
