"""What the validator of spdx-tools says of each file, as a JSON list of texts; an empty one is no fault."""

import json
import sys

from spdx_tools.spdx.parser.parse_anything import parse_file
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

faults = [
    "; ".join(message.validation_message for message in validate_full_spdx_document(parse_file(name)))
    for name in sys.argv[1:]
]
print(json.dumps(faults))
