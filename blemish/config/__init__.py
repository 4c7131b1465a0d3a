"""The run file and the pipeline file: typed sections, YAML, overrides."""

from blemish.config.hpi import HpiConfig, choose_engine, read_hpi_config
from blemish.config.pipeline_config import PipelineConfig, find_pipeline, load_pipeline_config
from blemish.config.run_file import dump_config, find_config, load_config, packaged_configs
from blemish.config.sections import MODES, RunConfig, Section
from blemish.config.sizes import parse_size
from blemish.config.validation import known_keys, validate_section

__all__ = [
    "MODES",
    "HpiConfig",
    "PipelineConfig",
    "RunConfig",
    "Section",
    "choose_engine",
    "dump_config",
    "find_config",
    "find_pipeline",
    "known_keys",
    "load_config",
    "load_pipeline_config",
    "packaged_configs",
    "parse_size",
    "read_hpi_config",
    "validate_section",
]
