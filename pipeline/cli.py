"""The command `blendinator`. Heavy imports stand inside the commands, so that --help is immediate."""

from typing import Any

import click

from blendinator.errors import BlendinatorError
from blendinator.escape import printable
from blendinator.pipeline import exit_codes
from blendinator.pipeline.commands._messages import with_option_names
from blendinator.pipeline.commands.demo import demo
from blendinator.pipeline.commands.doctor import doctor
from blendinator.pipeline.commands.kubeflow import kubeflow
from blendinator.pipeline.commands.models import lineage, models, rollback
from blendinator.pipeline.commands.predict import predict
from blendinator.pipeline.commands.retrain import prune, retrain, schedule
from blendinator.pipeline.commands.run import explain, report, run
from blendinator.pipeline.commands.segment import segment
from blendinator.pipeline.commands.simulate import simulate
from blendinator.pipeline.interruption import exit_code, terminable

# Those of the extra `pipeline`; segmenting does without.
_PIPELINE_PACKAGES = {
    "apache_beam",
    "jinja2",
    "ml_metadata",
    "sep",
    "tensorflow_data_validation",
    "tensorflow_metadata",
    "tensorflow_probability",
    "tensorflow_transform",
    "tfx",
    "tfx_bsl",
}


class _Group(click.Group):
    """Shows a user's mistake as one message, without a traceback; ends in order on Ctrl-C and SIGTERM."""

    def invoke(self, context: click.Context) -> Any:
        try:
            with terminable():
                return super().invoke(context)
        except BlendinatorError as error:
            called = self.commands[context.invoked_subcommand]
            click.echo(with_option_names(str(error), called), err=True)
            context.exit(exit_codes.FAILED)
        except ModuleNotFoundError as error:
            package = (error.name or "").split(".")[0]
            if package not in _PIPELINE_PACKAGES:
                raise
            click.echo(
                f"{package} is not installed, which this command needs: pip install 'blendinator[pipeline]', or "
                "`make setup` in a checkout.",
                err=True,
            )
            context.exit(exit_codes.FAILED)
        except OSError as error:  # a path that is not there, or where one may not write
            if error.filename is None:
                raise
            click.echo(
                f"{printable(str(error.filename))}: {error.strerror}. Check the path, its permissions and the "
                "space on its disk.",
                err=True,
            )
            context.exit(exit_codes.FAILED)
        except KeyboardInterrupt as error:
            click.echo("Interrupted.", err=True)
            context.exit(exit_code(error))


def _show_version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        from importlib import metadata

        from blendinator.stack import describe

        click.echo(f"blendinator {metadata.version('blendinator')}, stack {describe()}")
        context.exit()


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version and the stack of libraries, and exit.",
)
def main() -> None:
    """Blendinator: calibrated maps of where galaxies overlap."""


for command in (
    demo,
    doctor,
    explain,
    kubeflow,
    lineage,
    models,
    predict,
    prune,
    report,
    retrain,
    rollback,
    run,
    schedule,
    segment,
    simulate,
):
    main.add_command(command)


if __name__ == "__main__":
    main()
