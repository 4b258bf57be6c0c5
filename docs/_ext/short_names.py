"""Names of this package are links without their modules: `LogisticGate` is found in `moe_sklearn.gates`."""


def full_name(objects, name):
    """Return the one public object that ends with a capitalised name, or None."""
    if "." in name or not name[:1].isupper():
        return None
    found = [full for full, entry in objects.items() if full.endswith(f".{name}") and not entry.aliased]
    return found[0] if len(found) == 1 else None


def resolve_name(app, env, node, content):
    if node.get("refdomain") != "py":
        return None
    domain = env.get_domain("py")
    full = full_name(domain.objects, node["reftarget"])
    if full is None:
        return None
    return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", full, node, content)


def leave_label(app, env, node, content):
    """Keep the text of a label in a docstring inherited from scikit-learn; ours have no labels."""
    return content if node["reftype"] == "ref" and node["refdoc"].startswith("generated/") else None


def setup(app):
    app.connect("missing-reference", resolve_name, priority=400)  # before the manuals of others
    app.connect("missing-reference", leave_label, priority=900)  # after them
    return {"parallel_read_safe": True, "parallel_write_safe": True}
