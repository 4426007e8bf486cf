"""Scheduled modules as standalone C libraries."""

from qcompile.export.export import ExportResult, export_bundle

__all__ = ["ExportResult", "export_bundle"]
