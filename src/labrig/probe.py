"""Run by the Python of a repository's environment, which need not have labrig: prints what is installed, as JSON.

python probe.py              the versions of Python and of every package, and what PyTorch was built for
python probe.py FRAMEWORK    the devices that the framework really finds: imports it, which takes seconds
"""

import json
import runpy
import sys
from importlib import import_module, metadata, util
from pathlib import Path


def installed() -> dict[str, object]:
    """Every version of every package: a broken environment can hold two of one."""
    packages: dict[str, list[str]] = {}
    for package in metadata.distributions():
        name = package.name.lower().replace("_", "-").replace(".", "-")
        packages.setdefault(name, []).append(package.version)
    return {"python": "{}.{}".format(*sys.version_info), "packages": packages, "torch": torch_build()}


def torch_build() -> dict[str, object] | None:
    spec = util.find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    build = runpy.run_path(str(Path(spec.origin).with_name("version.py")))
    return {"version": build["__version__"], "cuda": build.get("cuda"), "hip": build.get("hip")}


def devices(framework: str) -> list[str]:
    """The accelerators, by name; none when the framework would run on the CPU."""
    module = import_module(framework)
    if framework == "torch":
        return [module.cuda.get_device_name(index) for index in range(module.cuda.device_count())]
    if framework == "tensorflow":
        details = map(module.config.experimental.get_device_details, module.config.list_physical_devices("GPU"))
        return [str(one.get("device_name", "a GPU")) for one in details]
    return [device.device_kind for device in module.devices() if device.platform != "cpu"]


if __name__ == "__main__":
    print(json.dumps(devices(sys.argv[1]) if len(sys.argv) > 1 else installed()))
