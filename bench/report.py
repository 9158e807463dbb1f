def write(results, out):
    import json
    print(json.dumps(results, indent=1))
