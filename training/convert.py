"""The command line of `python -m training convert`: the papers' data as our data directory."""

import argparse
from pathlib import Path

from training.data.amazon import convert_amazon
from training.data.converted import Precision
from training.data.cornac_layout import convert_cornac

EXAMPLES = """\
Converts data that others publish into a data directory for --data: interactions.parquet, items.parquet, features.npy.
docs/data.md says which files these are and what to expect of them.

examples:
  python -m training convert amazon --reviews reviews_Baby_5.json.gz --features image_features_Baby.b \\
      --metadata meta_Baby.json.gz --out data/amazon-baby
  python -m training convert cornac --from amazon_clothing --out data/cornac-clothing
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options, on the sub-command's parser."""
    parser.description, parser.formatter_class = EXAMPLES, argparse.RawDescriptionHelpFormatter
    layouts = parser.add_subparsers(dest="layout", metavar="LAYOUT", required=True, title="layouts")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--out", type=Path, required=True, metavar="DIR", help="the directory to write; a new one")
    shared.add_argument("--float32", action="store_true", help="keep features as float32, twice the size [float16]")
    shared.add_argument("--quiet", action="store_true", default=argparse.SUPPRESS, help="no progress bars")

    amazon = layouts.add_parser("amazon", parents=[shared], help="Amazon reviews with image features (McAuley)")
    amazon.add_argument("--reviews", type=Path, required=True, metavar="FILE", help="JSON lines, gzipped or not")
    amazon.add_argument("--features", type=Path, required=True, metavar="FILE", help="binary: asin, 4096 float32")
    amazon.add_argument("--metadata", type=Path, metavar="FILE", help="titles, categories, prices: JSON lines")
    amazon.add_argument(
        "--skip-bad", action="store_true", default=argparse.SUPPRESS, help="count lines that cannot be used and go on"
    )
    cornac = layouts.add_parser("cornac", parents=[shared], help="cornac's amazon_clothing")
    cornac.add_argument(
        "--from", type=Path, required=True, dest="source", metavar="DIR", help="holds rating.txt, image_features.npy …"
    )


def command(options: argparse.Namespace) -> str:
    """Runs it: what is to be printed. Raises: CausalRecError."""
    precision: Precision = "float32" if options.float32 else "float16"
    quiet = options.quiet
    if options.layout == "cornac":
        told = convert_cornac(options.source, options.out, precision=precision, quiet=quiet)
    else:
        told = convert_amazon(
            options.reviews,
            options.features,
            options.metadata,
            options.out,
            precision=precision,
            skip_bad=options.skip_bad,
            quiet=quiet,
        )
    return f"{options.out}: {told}"
