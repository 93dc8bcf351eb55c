"""
The frozen values that every stage hands to the next.

All of them are immutable and hashable (tuples inside, never lists) and round-trip through `codec`.
"""

from __future__ import annotations

from envparity.values.environment import (
    SCHEMA,
    SECTIONS,
    CondaPackage,
    Distribution,
    Environment,
    Gap,
    Module,
    Origin,
    OsPackage,
    Python,
    Settings,
    System,
)
from envparity.values.hardware import Accelerators, Cpu, Device, Host
from envparity.values.image import (
    Options,
    Plan,
    PlannedLayer,
    Step,
)
from envparity.values.judgement import (
    Change,
    Difference,
    Effect,
    Evidence,
    Finding,
    Layer,
    Place,
    Report,
    Severity,
    Standing,
    Verdict,
)
from envparity.values.lineage import Artifact, SourceCode
from envparity.values.lock import (
    STATES,
    LeftOut,
    Lock,
    LockedArtifact,
    LockedDistribution,
    LockedInterpreter,
    LockedModel,
    LockedOsPackage,
    LockedWheel,
    Packer,
    Proof,
    RecordRow,
    Repacked,
    Substituted,
    Target,
)
from envparity.values.machines import ARCHITECTURES, MACHINES
from envparity.values.native import Dispatch, NativeLibrary, NumericLibrary, Numerics
from envparity.values.scalars import Basis, Digest, File, GapKind, Sha256, Size, Variable
from envparity.values.tags import glibc_floor

__all__ = [
    "ARCHITECTURES",
    "MACHINES",
    "SCHEMA",
    "SECTIONS",
    "STATES",
    "Accelerators",
    "Artifact",
    "Basis",
    "Change",
    "CondaPackage",
    "Cpu",
    "Device",
    "Difference",
    "Digest",
    "Dispatch",
    "Distribution",
    "Effect",
    "Environment",
    "Evidence",
    "File",
    "Finding",
    "Gap",
    "GapKind",
    "Host",
    "Layer",
    "LeftOut",
    "Lock",
    "LockedArtifact",
    "LockedDistribution",
    "LockedInterpreter",
    "LockedModel",
    "LockedOsPackage",
    "LockedWheel",
    "Module",
    "NativeLibrary",
    "NumericLibrary",
    "Numerics",
    "Options",
    "Origin",
    "OsPackage",
    "Packer",
    "Place",
    "Plan",
    "PlannedLayer",
    "Proof",
    "Python",
    "RecordRow",
    "Repacked",
    "Report",
    "Settings",
    "Severity",
    "Sha256",
    "Size",
    "SourceCode",
    "Standing",
    "Step",
    "Substituted",
    "System",
    "Target",
    "Variable",
    "Verdict",
    "glibc_floor",
]
