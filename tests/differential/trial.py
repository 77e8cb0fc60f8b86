import sys, time, collections
from hypothesis import given, settings, seed, HealthCheck, Phase
from galera_router.testing import GaleraCluster
from tests.differential.pair import pair
from tests.differential.strategies import programmes
N=int(sys.argv[1]); S=int(sys.argv[2])
with GaleraCluster(options=["--log-bin"]) as cluster, pair(cluster) as both:
    seen=collections.Counter(); firsts={}
    t=[0,0,time.time()]
    @seed(S)
    @settings(max_examples=N, database=None, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
    @given(programmes())
    def run(p):
        a=time.time()
        o=both.play(p)
        t[0]+=time.time()-a; t[1]+=1
        if any(x!=o.rows['stock'][0] for x in o.rows['stock']): print(p, o.rows['stock'], o.stock); raise SystemExit
        if o.difference:
            s=o.difference.signature
            seen[s]+=1
            if s not in firsts or len(str(firsts[s].programme))>len(str(p)): firsts[s]=o
    last=[]
    orig=both.play
    def play(p):
        last.append(p)
        return orig(p)
    both.play=play
    try:
        run()
    except BaseException as e:
        for n in cluster.nodes:
            print(n.name); print(open(n.place.folder/'errors').read()[-6000:] if (n.place.folder/'errors').exists() else n.errors())
        for q in last[-3:]: print(q); print()
        raise
    print(t, time.time()-t[2])
    for s,n in seen.most_common(): print(n,s)
    print()
    for s,o in firsts.items(): print("=====",s,seen[s]); print(o.programme); print(o.difference)
    print(o.programme if 0 else "")
