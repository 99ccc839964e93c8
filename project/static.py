"""Names of static files that change with their content, so that browsers may keep them for ever."""

from whitenoise.storage import CompressedManifestStaticFilesStorage


class HashedModulesStorage(CompressedManifestStaticFilesStorage):
    """Rewrites the imports of ES modules as well, since without a build step a module imports by path."""

    support_js_module_import_aggregation = True
    # A pass settles the names of one more level of imports; the pages' modules are six levels deep.
    max_post_process_passes = 12
