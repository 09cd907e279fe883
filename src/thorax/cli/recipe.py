"""`thorax recipe`: the settings of a recipe as options of `dvc exp run`."""

import click

from thorax.cli.options import echo


@click.command()
@click.argument("name", required=False)
def recipe(name: str | None) -> None:
    """Print a recipe of params.yaml, as options of dvc exp run.

    Without NAME the names of all recipes are printed. Later options take precedence over the
    settings of a recipe. thorax cross-validate and thorax sweep also accept -S recipe=NAME.

    \b
    Example:
      thorax recipe infection
      dvc exp run $(thorax recipe infection) -S dataset=study
    """
    from thorax.common.params import load_params
    from thorax.experiments.recipes import recipe_overrides

    recipes = load_params().recipes
    if name is None:
        for known in recipes:
            echo(known)
        return
    echo(" ".join(f"-S {override}" for override in recipe_overrides(name, recipes)))
