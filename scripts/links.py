"""Finds links of the documents that lead to no file. Usage: links.py [FOLDER]"""

import re
import sys
from pathlib import Path

root = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
broken = []
for document in sorted([*root.glob("*.md"), *root.glob("docs/**/*.md")]):
    for link in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", document.read_text()):
        if "://" not in link and not (document.parent / link).exists():
            broken.append(f"{document.relative_to(root)}: {link}")
if broken:
    sys.exit("links that lead nowhere:\n" + "\n".join(broken))
