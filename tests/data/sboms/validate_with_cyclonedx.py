"""What the validator of cyclonedx-python-lib says of each file, as a JSON list of texts; an empty one is no fault."""

import json
import sys
from pathlib import Path

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

validator = JsonStrictValidator(SchemaVersion.V1_6)
faults = [validator.validate_str(Path(name).read_text()) for name in sys.argv[1:]]
print(json.dumps(["" if fault is None else str(fault) for fault in faults]))
