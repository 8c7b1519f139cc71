"""The curated schema of the record, for a stamp size.

`scene.pbtxt` holds the domains. TFX's cache looks at the path of the schema and not into the file, so the file handed
to the pipeline carries a hash of its content in its name.
"""

import hashlib
from pathlib import Path

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2


def load_schema(stamp_size: int) -> schema_pb2.Schema:
    """The schema with [stamp_size, stamp_size] pixel features (stamp_size in pixels)."""
    text = Path(__file__).with_name("scene.pbtxt").read_text(encoding="utf-8")
    schema = text_format.Parse(text, schema_pb2.Schema())
    for feature in schema.feature:
        for dim in feature.shape.dim:
            dim.size = stamp_size
    return schema


def write_schema(stamp_size: int, folder: str | Path) -> Path:
    """Writes the schema as `folder`/scene-<hash>.pbtxt and returns the path; the same content gives the same path."""
    text = text_format.MessageToString(load_schema(stamp_size))
    path = Path(folder) / f"scene-{hashlib.sha256(text.encode()).hexdigest()[:12]}.pbtxt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path
