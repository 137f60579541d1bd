"""Which folders become packages; all else that there is to say of the project is in pyproject.toml."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["minimapnet", "minimapnet.*"]), "minimapnet.data"],
    package_dir={"minimapnet.data": "data"},
)
