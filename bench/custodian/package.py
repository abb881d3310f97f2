"""Makes the packages that `custodian run` would deploy, and puts them where they can run here.

For each policy in `policies.yml`: `FOLDER/NAME.zip`, and `FOLDER/NAME/` with what is in it and a `bootstrap` that runs it
as Lambda's Python runtime does. `FOLDER/versions.json` says what was packed.
"""

import compileall
import importlib.metadata
import json
import pathlib
import platform
import shutil
import sys
import zipfile

from c7n.config import Config
from c7n.loader import PolicyLoader
from c7n.mu import PolicyLambda
from c7n.resources import load_resources

BOOTSTRAP = """#!/bin/sh
exec {python} -m awslambdaric {handler}
"""


def main():
    here, folder = pathlib.Path(__file__).parent, pathlib.Path(sys.argv[1])
    load_resources(("aws.s3", "aws.ec2", "aws.security-group"))
    options = Config.empty(region="eu-west-1", account_id="123456789012")
    for policy in PolicyLoader(options).load_file(str(here / "policies.yml"), format="yaml"):
        function = PolicyLambda(policy)
        package, code = folder / f"{policy.name}.zip", folder / policy.name
        shutil.copy(function.get_archive().path, package)
        with zipfile.ZipFile(package) as archive:
            archive.extractall(code)
        # In Lambda nothing can be written beside the code, so Python compiles it at every cold start. Not here: in
        # doubt the comparison is in favour of Cloud Custodian.
        compileall.compile_dir(code, quiet=2)
        bootstrap = code / "bootstrap"
        bootstrap.write_text(BOOTSTRAP.format(python=sys.executable, handler=function.handler))
        bootstrap.chmod(0o755)
    versions = {name: importlib.metadata.version(name) for name in ("c7n", "boto3", "awslambdaric")}
    versions["python"] = platform.python_version()
    (folder / "versions.json").write_text(json.dumps(versions))


if __name__ == "__main__":
    main()
