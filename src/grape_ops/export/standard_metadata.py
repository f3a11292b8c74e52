"""The template of experimental_metadata.yaml: what only the experimenter knows, with what the standard allows."""

EXPERIMENT_TEMPLATE = """\
# Experimental metadata of the OPS Data Standard 0.1.0. Only you know these; replace every FILL IN, then validate again,
# or name your own file: --set export.experimental_metadata=FILE.
experiment:
  title: {title}
  organism_ontology_term_id: FILL IN      # NCBITaxon:9606 human, NCBITaxon:10090 mouse, NCBITaxon:7955 zebrafish
  organism: FILL IN                       # its name, as Homo sapiens
  tissue_type: FILL IN                    # tissue, organoid, cell culture, or cell line
  tissue_ontology_term_id: FILL IN        # cell line: CVCL_0030 is HeLa; culture: CL:...; tissue: UBERON:...
  tissue: FILL IN
  disease_ontology_term_id: FILL IN       # PATO:0000461 for healthy, or MONDO:...
  disease: FILL IN
  development_stage_ontology_term_id: FILL IN  # "na" for cell lines; HsapDv:... or MmusDv:... otherwise
  development_stage: FILL IN              # "na" for cell lines
  assay_ontology_term_id: FILL IN         # EFO:0022605 or a more exact term
  assay: FILL IN
cellular:
  growth_conditions: FILL IN              # medium, supplements, culture conditions
  plate_type: FILL IN                     # such as 6-well glass-bottom, with catalogue number
library:
  vector: FILL IN                         # with Addgene number
phenotype:
  objective: FILL IN                      # magnification and NA
  exposure_time_ms: []                    # one whole number per channel, in the order of the channels
microscope:
  system: FILL IN
pipeline:
  github: FILL IN                         # of the pipeline that made the cell table
  version: 1.0                            # a number
"""
