"""An import rule of our own for import-linter: a bounded context has one door."""

from typing import Any

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output


class DoorsContract(Contract):
    """For each package in `contexts`, only its `api` module may be imported from outside of it.

    Options:
        contexts: the package whose children are the contexts.
        insiders: modules or packages that may use everything inside (the composition root).
    """

    contexts = fields.StringField()
    insiders = fields.ListField(subfield=fields.StringField(), required=False)

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        """Find the imports that climb through a window; `verbose` has nothing to add."""
        del verbose
        folder = str(self.contexts)
        if folder not in graph.modules:
            return ContractCheck(kept=True, warnings=[f"there is no package {folder}"])
        insiders = _names(self.insiders)
        found = [
            f"{importer} -> {module}"
            for context in sorted(graph.find_children(folder))
            for module in sorted({context} | graph.find_descendants(context))
            if module not in {context, f"{context}.api"}
            for importer in sorted(graph.find_modules_that_directly_import(module))
            if not any(_within(importer, owner) for owner in [context, *insiders])
        ]
        return ContractCheck(kept=not found, metadata={"found": found})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Print each import past a door."""
        found: list[Any] = check.metadata["found"]
        for line in found:
            output.print_error(f"- {line}")
        output.print(f"\nImport {self.contexts}.<context>.api instead, and let it offer what is needed.")


def _names(option: object) -> list[str]:
    # The base class replaces each declared field by its value, or by None when the option was left out.
    return [str(name) for name in option] if isinstance(option, list) else []


def _within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")
