def write(folder, names, path):
    return ""
