def compress(m, a):
    pass


def export(m, a):
    pass
